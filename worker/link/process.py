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
from taskq.worker.link.page import Page

_SOCKET_BUFFER = 1 << 20


class ExecutorProcess:
    """A running executor.

    Attributes:
        pid: its process id. ``pidfd``: becomes readable when it has ended.
        socket: our end of the link, non-blocking; the owner closes it.
        page: what it has begun.
    """

    def __init__(self, process: subprocess.Popen[bytes], ours: socket.socket, page: Page) -> None:
        self._process = process
        self.pid = process.pid
        self.pidfd = os.pidfd_open(process.pid)
        self.socket = ours
        self.page = page

    @classmethod
    def start(cls, environment: Mapping[str, str]) -> ExecutorProcess:
        """Start one by exec, with no descriptor but its end of the link, its page, 1 and 2 (our stderr).

        Args:
            environment: all that it may see (`settings.executor_environment`).

        Raises:
            OSError: it can't be started (limits, memory).
        """
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as theirs_only:
            page, memory = Page.make()
            theirs_only.callback(os.close, memory)
            undo.callback(page.close)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            theirs_only.enter_context(theirs)
            undo.callback(ours.close)
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
            ours.setblocking(False)
            process = _exec(theirs.fileno(), memory, environment)
            undo.callback(_end, process)
            started = cls(process, ours, page)
            undo.pop_all()
        return started

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
            descendants.kill_below(self.pid)

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
        """Close the pidfd and the page."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
            self.page.close()

    def _signal(self, number: int) -> None:
        # By pidfd: its number can't have become another process's.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)


def _exec(link: int, page: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "taskq.worker.executor", str(link), str(page)],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno() if _has_stderr() else subprocess.DEVNULL,
        close_fds=True,
        pass_fds=(link, page),
        env=dict(environment),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _has_stderr() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.fileno() >= 0
    except (OSError, ValueError):
        return False
