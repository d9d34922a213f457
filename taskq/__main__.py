"""The ``taskq`` command; ``python -m taskq`` is the same."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from taskq.cli.group import taskq
from taskq.cli.secrecy import hide_credential


def main() -> None:
    """Run the command line on this process's arguments and exit with its code."""
    end_on_sigterm()
    hide_credential()
    taskq(prog_name="taskq")


def end_on_sigterm() -> None:
    """As the first process of a container, end on SIGTERM as any other process would, until a command says otherwise.

    The kernel gives that one process no default action: a stop that came while it still starts would be ignored, and the
    container killed only when the patience of whoever stops it is over.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
