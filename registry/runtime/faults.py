"""Named points in the code at which a process can be made to die as by ``kill -9``, for tests of what is lost then.

Nothing in this distribution arms a point: in production each costs one look at an empty dict. A test's own process calls `arm`
and then does what the command would do. The points stand where a death leaves the most behind: between two steps that are
not one script. Standard library only.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

POINTS: Final[Mapping[str, str]] = {
    "worker.claiming": "a claim is about to be sent",
    "worker.claimed": "runs are claimed, and none of them is in an executor",
    "worker.dispatched": "claimed runs are with executors",
    "worker.settled": "a run has ended, and its outcome is only in the supervisor's memory",
    "worker.recording": "outcomes are about to be sent",
    "worker.recorded": "outcomes are in Redis, and the supervisor does not know it yet",
    "worker.renewed": "leases were extended",
    "worker.sweeping": "expired leases were seen twice, and none is taken over",
    "worker.swept": "expired leases were taken over",
    "worker.reported": "a heartbeat was written",
    "worker.fetched": "an artifact was fetched, and its version is not tried yet",
    "scheduler.leads": "the lead was taken or renewed",
    "scheduler.decided": "it is decided which slots fire, and none has",
    "scheduler.fired": "slots have fired, and the scheduler does not know it yet",
    "scheduler.moved": "delayed runs were moved to their queues",
    "registry.stored": "an artifact is stored, and no record names it",
    "registry.staged": "a version is staged, and the route is not switched",
    "registry.committed": "a change is committed, and the writer does not know it yet",
    "client.enqueueing": "runs are about to be enqueued",
    "client.enqueued": "runs are enqueued, and the caller does not know it yet",
}
"""Each point, and what stands at it."""

_armed: Final[dict[str, tuple[int, Callable[[], None]]]] = {}


def point(name: str) -> None:
    """The code has come to this point; ``name`` is one of `POINTS`."""
    if _armed and name in _armed:
        _reached(name)


def die() -> None:
    """As by ``kill -9`` from outside: nothing is flushed, nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(name: str, nth: int = 1, action: Callable[[], None] = die) -> None:
    """Have this process die at a point.

    Args:
        name: of the point. ``nth``: the how manieth time that it is reached, from 1. ``action``: what happens then.

    Raises:
        KeyError: there is no such point.
    """
    _armed[name if name in POINTS else POINTS[name]] = (nth, action)


def disarm() -> None:
    """No point does anything any more."""
    _armed.clear()


def _reached(name: str) -> None:
    left, action = _armed[name]
    if left > 1:
        _armed[name] = (left - 1, action)
        return
    del _armed[name]
    action()
