"""The ``taskq`` command; ``python -m taskq`` is the same."""

from __future__ import annotations

from taskq.cli.group import taskq
from taskq.cli.secrecy import hide_credential


def main() -> None:
    """Run the command line on this process's arguments and exit with its code."""
    hide_credential()
    taskq(prog_name="taskq")


if __name__ == "__main__":
    main()
