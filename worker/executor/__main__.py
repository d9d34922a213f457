"""``python -P -m taskq.worker.executor N M``: started by a supervisor, with its end of a socketpair as descriptor N, a page as M.

The option ``-P`` keeps the working folder out of ``sys.path``: what lies there must not shadow what is installed.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback

from taskq.worker.executor.flusher import EXIT_SOFTWARE
from taskq.worker.executor.loop import Executor
from taskq.worker.executor.process import settle
from taskq.worker.link.page import Page


def main() -> None:
    """Become an executor; never returns."""
    if len(sys.argv) != 3 or not all(text.isdigit() for text in sys.argv[1:]):
        sys.exit("taskq.worker.executor is started by `taskq worker`")
    descriptor, memory = map(int, sys.argv[1:])
    os.set_inheritable(descriptor, False)  # programs that task code starts must not hold the link
    sock, page = socket.socket(fileno=descriptor), Page(memory)
    settle(sock)
    if not sys.flags.safe_path:
        sys.path.pop(0)
    sys.argv = ["taskq-executor"]
    try:
        Executor(sock, page).serve()
    except BaseException:  # noqa: BLE001  # what task code did to this process may raise anything here; no thread of its may keep it alive
        traceback.print_exc(file=sys.__stderr__)
    os._exit(EXIT_SOFTWARE)


if __name__ == "__main__":
    main()
