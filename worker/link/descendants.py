"""All that descends from a process, by /proc: a grandchild that called ``setsid`` is found as well.

What is to be killed is stopped first, each process before its children are looked for: one that is stopped forks no more, so a fork
bomb can't outrun the look.

Executors are subreapers, so what their runs start stays below them whatever it does; when an executor dies, it falls to
the supervisor, if that is one.
"""

from __future__ import annotations

import contextlib
import math
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


def descendants_of(pid: int, most: float = math.inf) -> list[int]:
    """Everything below ``pid``, parents before children; it is not looked further once more than ``most`` are found."""
    found, at = children_of(pid), 0
    while at < len(found) <= most:
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
    """SIGKILL to ``pid`` and all below it."""
    send(pid, signal.SIGSTOP)
    kill_below(pid)
    send(pid, signal.SIGKILL)


def kill_below(pid: int, spared: Collection[int] = ()) -> None:
    """SIGKILL to all below ``pid`` but the ``spared``; repeated while something new appears."""
    reached = set(spared)
    for _ in range(_ROUNDS):
        fresh = stop_below(pid, reached)
        if not fresh:
            return
        for child in fresh:
            send(child, signal.SIGKILL)
        reached.update(fresh)


def stop_below(pid: int, spared: Collection[int] = ()) -> list[int]:
    """SIGSTOP to all below ``pid`` but the ``spared``; returns whom it reached."""
    found: list[int] = []
    parents = [pid]
    while parents:
        for child in children_of(parents.pop()):
            if child not in spared:
                send(child, signal.SIGSTOP)
                found.append(child)
            parents.append(child)
    return found


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
