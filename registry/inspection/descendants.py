"""Keeps the descendants of this process within reach, and ends all of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from typing import Final

import psutil

from taskq.registry import clock

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_WITHIN: Final = 2.0


def keep_within_reach() -> None:
    """Have orphaned descendants become children of this process, and SIGTERM sent to it when its parent dies.

    Linux only; elsewhere nothing happens, and a descendant that leaves its session may survive.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def end_descendants() -> None:
    """SIGKILL all that descends from this process, again until nothing is left or 2 s have passed, and reap it."""
    me = psutil.Process()
    deadline = clock.monotonic() + _WITHIN
    while clock.monotonic() < deadline:
        # One that forks while we look is found by the next look: its child becomes ours.
        alive = [child for child in me.children(recursive=True) if _kill(child)]
        _reap()
        if not alive:
            return
        psutil.wait_procs(alive, timeout=0.05)


def _kill(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        if process.status() != psutil.STATUS_ZOMBIE:
            process.kill()
            return True
    return False


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
