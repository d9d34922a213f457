"""`ExecutorProcess`: one executor as a process: started clean, watched by its pidfd, ended with all that descends from it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping

from taskq.worker.link import descendants

_SOCKET_BUFFER = 1 << 20


class ExecutorProcess:
    """A running executor.

    Attributes:
        pid: its process id. ``pidfd``: becomes readable when it has ended.
        socket: our end of the link, non-blocking; the owner closes it.
    """

    def __init__(self, process: subprocess.Popen[bytes], ours: socket.socket) -> None:
        self._process = process
        self.pid = process.pid
        self.pidfd = os.pidfd_open(process.pid)
        self.socket = ours

    @classmethod
    def start(cls, environment: Mapping[str, str]) -> ExecutorProcess:
        """Start one by exec, with no descriptor but its end of the link, 1 and 2 (our stderr).

        Args:
            environment: all that it may see (`settings.executor_environment`).

        Raises:
            OSError: it can't be started (limits, memory).
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
            ours.setblocking(False)
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "taskq.worker.executor", "--fd", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=sys.stderr.fileno() if _has_stderr() else subprocess.DEVNULL,
                    close_fds=True,
                    pass_fds=(theirs.fileno(),),
                    env=dict(environment),
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, ours)

    def interrupt(self) -> None:
        """Have it read its messages now."""
        self._signal(signal.SIGUSR1)

    def terminate_descendants(self) -> None:
        """SIGTERM to all that its runs started."""
        if self._process.returncode is None:
            descendants.signal_descendants(self.pid, signal.SIGTERM)

    def kill_descendants(self) -> None:
        """SIGKILL to all that its runs started."""
        if self._process.returncode is None:
            descendants.signal_descendants(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL to it and everything below it."""
        if self._process.returncode is None:
            descendants.kill_tree(self.pid)

    def reap(self) -> int | None:
        """Its return code (negative for a signal), or None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait for its end, which must be near; returns the return code."""
        return self._process.wait()

    def close(self) -> None:
        """Close the pidfd."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def _signal(self, number: int) -> None:
        # By pidfd: its number can't have become another process's.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)


def _has_stderr() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.fileno() >= 0
    except (OSError, ValueError):
        return False
