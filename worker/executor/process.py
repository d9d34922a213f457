"""What the executor's process must be before any task code runs in it: bound to its supervisor, deaf to the terminal."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from taskq.registry import clock
from taskq.worker.link.descendants import children_of

# What `signal` wraps, without its enums: those would cost 20 µs a run.
_signal: Any = importlib.import_module("_signal")
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_RESTORED: Final = (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD)
_LOOK: Final = 1.0
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


def settle(sock: socket.socket) -> None:
    """Bind this process to the other end of ``sock``, and detach it from everything else.

    It dies with its supervisor, adopts orphans among its descendants (so that a sweep finds them), leaves the session and
    process group of the terminal, reads from /dev/null, and writes stray output to the inherited stderr.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != _peer(sock):
        os._exit(0)  # the supervisor died before the line above took effect
    if os.getpid() != os.getsid(0):
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    faulthandler.enable(file=2)


def install_signals(look: Callable[[int, FrameType | None], None], forked: Callable[[], None]) -> None:
    """SIGUSR1 calls ``look``; SIGINT and SIGTERM are ignored: the supervisor alone decides when this process ends.

    They are ignored by handlers that do nothing, not by SIG_IGN, which programs that task code starts would inherit.

    Args:
        look: the handler of SIGUSR1.
        forked: called in a child that task code forked off.
    """
    signal.signal(signal.SIGINT, _ignore)
    signal.signal(signal.SIGTERM, _ignore)
    signal.signal(signal.SIGUSR1, look)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGINT, signal.SIGTERM})

    def after_fork() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        forked()

    os.register_at_fork(after_in_child=after_fork)


class Habits:
    """What a run may change of the process, and the next one must find as it was: signals, timer, folder, zombies.

    Made after `install_signals`.
    """

    def __init__(self) -> None:
        self._handlers = [(int(number), _signal.getsignal(number)) for number in _RESTORED]
        self._folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._looked = 0.0
        self._ended: set[int] = set()

    def restore(self) -> None:
        """A run has ended."""
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        for number, handler in self._handlers:
            if _signal.getsignal(number) is not handler:
                _signal.signal(number, handler)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, _RESTORED)
        with contextlib.suppress(OSError):  # it may not be entered any more, or a task has closed our descriptor
            os.fchdir(self._folder)
        now = clock.monotonic()
        if now - self._looked >= _LOOK:
            self._looked = now
            self._reap()

    def _reap(self) -> None:
        """Reap adopted children. One that a task started itself is left to the task until the next look."""
        ended = set()
        for pid in children_of(os.getpid()):
            with contextlib.suppress(ChildProcessError):
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    continue
                if pid in self._ended:
                    os.waitpid(pid, os.WNOHANG)
                else:
                    ended.add(pid)
        self._ended = ended


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing."""


def _peer(sock: socket.socket) -> int:
    """The process that made the socketpair: the supervisor."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[0])


def _prctl(option: int, value: int) -> None:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        sys.exit(f"prctl({option}, {value}): {os.strerror(ctypes.get_errno())}")
