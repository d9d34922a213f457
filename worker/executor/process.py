"""What the executor's process must be before any task code runs in it: bound to its supervisor, deaf to the terminal."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
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
