"""``python -P -m taskq.worker.executor --fd N``: started by a supervisor, with its end of a socketpair as descriptor N.

The option ``-P`` keeps the working folder out of ``sys.path``: what lies there must not shadow what is installed.
"""

from __future__ import annotations

import os
import socket
import sys

from taskq.worker.executor.loop import Executor
from taskq.worker.executor.process import settle


def main() -> None:
    """Become an executor; never returns."""
    if len(sys.argv) != 3 or sys.argv[1] != "--fd" or not sys.argv[2].isdigit():
        sys.exit("taskq.worker.executor is started by `taskq worker`")
    descriptor = int(sys.argv[2])
    os.set_inheritable(descriptor, False)  # programs that task code starts must not hold the link
    sock = socket.socket(fileno=descriptor)
    settle(sock)
    if not sys.flags.safe_path:
        sys.path.pop(0)
    sys.argv = ["taskq-executor"]
    Executor(sock).serve()


if __name__ == "__main__":
    main()
