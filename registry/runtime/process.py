"""What each of our long-running processes does about itself: a name that no other has, and no look into its memory."""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_LONGEST_HOST: Final = 64


def unique_name(kind: str = "") -> str:
    """``<kind>-<host>-<pid>-<four digits>``, without ``kind`` where that is empty: unique in the fleet."""
    host = "".join(char if char.isalnum() and char.isascii() else "-" for char in socket.gethostname()).strip("-")
    return "-".join(filter(None, (kind, host[:_LONGEST_HOST] or "host", str(os.getpid()), os.urandom(2).hex())))


def make_unreadable() -> None:
    """Let no other process of this user read our memory or environment, where the credential of Redis is."""
    process_control(_PR_SET_DUMPABLE, 0)


def process_control(option: int, value: int) -> None:
    """``prctl``; raises OSError where the system refuses it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value})")
