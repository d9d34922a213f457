"""Runs that are due later: moving those to their queues whose time has come. Who leads the schedulers does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from taskq.registry.effects import Call, Op
from taskq.registry.keys import Keys
from taskq.registry.model.event import run_event
from taskq.registry.scripts import load

MAX_MOVED: Final = 500
"""Runs in one call of the script: what Redis does without looking at another client."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What one call has done.

    ``leads``: False where the lease was lost, so that nothing was moved. ``now_ms``: Redis' clock. ``count``: how many
    were moved. ``next_ms``: when the next one is due (it may be due already), None where there is none, or the lease was lost.
    """

    leads: bool
    now_ms: int
    count: int = 0
    next_ms: int | None = None


def move_due(keys: Keys, lease: str, limit: int = MAX_MOVED, *, events: bool = False) -> Op[Moved]:
    """Move runs that are due by Redis' clock to the ends of their queues, those due first ahead.

    Args:
        keys: of the namespace.
        lease: what ``keys.scheduler_lease`` must hold: ``<token>|<scheduler>``.
        limit: how many at most.
        events: whether a ``queued`` event is sent for each (where ``settings.events`` is ``all``).
    """
    body = run_event("queued", namespace=keys.namespace, task="$task", run="$run", status="queued") if events else ""
    names = [keys.scheduler_lease, keys.scheduler_runs, keys.rq_queues, keys.events]
    reply = yield Call(load("due"), names, [lease, keys.rq, limit, body])
    if reply[0] == b"lost":
        return Moved(leads=False, now_ms=int(reply[1]))
    return Moved(leads=True, now_ms=int(reply[1]), count=int(reply[2]), next_ms=int(reply[3]) if reply[3] else None)
