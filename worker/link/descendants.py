"""All that descends from a process, by /proc: a grandchild that called ``setsid`` is found as well.

Executors are subreapers, so what their runs start stays below them whatever it does; when an executor dies, it falls to
the supervisor, if that is one.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path

from taskq.registry.runtime.process import make_unreadable, process_control

_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 20


def children_of(pid: int) -> list[int]:
    """Children of ``pid``, those of all its threads; empty if it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                found.extend(map(int, (thread / "children").read_text().split()))
    return found


def descendants_of(pid: int) -> list[int]:
    """Everything below ``pid``, parents before children."""
    found, at = children_of(pid), 0
    while at < len(found):
        found.extend(children_of(found[at]))
        at += 1
    return found


def send(pid: int, number: int) -> None:
    """Send a signal; a process that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def signal_descendants(pid: int, number: int) -> None:
    """Send a signal to all below ``pid``, not to ``pid`` itself."""
    for child in descendants_of(pid):
        send(child, number)


def kill_tree(pid: int) -> None:
    """SIGKILL to ``pid`` and all below it; repeated while something new appears, since a fork may race with the look."""
    send(pid, signal.SIGSTOP)
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        fresh = [child for child in descendants_of(pid) if child not in killed]
        if not fresh:
            break
        for child in fresh:
            send(child, signal.SIGKILL)
        killed.update(fresh)
    send(pid, signal.SIGKILL)


def kill_orphans(known: Collection[int]) -> int:
    """End and reap what fell to this process: children that are not ``known``, with all below them. Returns how many.

    Only for a process that is a subreaper and starts nothing but what it lists as known.
    """
    orphans = [pid for pid in children_of(os.getpid()) if pid not in known]
    for pid in orphans:
        kill_tree(pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return len(orphans)


def shield_process() -> None:
    """Make this process unreadable to others of its user, and the reaper of what its children leave behind."""
    make_unreadable()
    process_control(_PR_SET_CHILD_SUBREAPER, 1)
