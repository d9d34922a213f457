"""Runs that are due later: which there are, and moving those to their queues whose time has come.

Their ids stand in a sorted set of ours, scored by the time, and in RQ's scheduled registry, where RQ's tools see them;
the first decides. Who leads the schedulers moves them, by Redis' clock; where none leads the workers do, each time that they sweep:
retries must not depend on a process that a fleet without schedules does not need. A run keeps the queue that its task had when
it was made; its version is chosen when it is claimed, as that of any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from taskq.registry.effects import Call, Command, Op, Pipeline
from taskq.registry.keys import Keys
from taskq.registry.model.event import run_event
from taskq.registry.scripts import load

MAX_MOVED: Final = 500
"""Runs in one call of the script: what Redis does without looking at another client."""

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Moved:
    """What one call has done.

    ``leads``: False where the lease was lost, or another one holds it, so that nothing was moved. ``now_ms``: Redis' clock. ``count``:
    how many were moved. ``next_ms``: when the next one is due (it may be due already), None where there is none, or the lease was lost.
    """

    leads: bool
    now_ms: int
    count: int = 0
    next_ms: int | None = None


def move_due(keys: Keys, lease: str, limit: int = MAX_MOVED, *, events: bool = False) -> Op[Moved]:
    """Move runs that are due by Redis' clock to the ends of their queues, those due first ahead.

    Args:
        keys: of the namespace.
        lease: what ``keys.scheduler_lease`` must hold: ``<token>|<scheduler>``, or ``""`` for nothing: no scheduler leads.
        limit: how many at most.
        events: whether a ``queued`` event is sent for each (where ``settings.events`` is ``all``).
    """
    body = run_event("queued", namespace=keys.namespace, task="$task", run="$run", status="queued") if events else ""
    names = [keys.scheduler_lease, keys.scheduler_runs, keys.rq_queues, keys.events]
    reply = yield Call(load("due"), names, [lease, keys.rq, limit, body])
    if reply[0] == b"lost":
        return Moved(leads=False, now_ms=int(reply[1]))
    return Moved(leads=True, now_ms=int(reply[1]), count=int(reply[2]), next_ms=int(reply[3]) if reply[3] else None)


def scheduled_runs(keys: Keys, task: str) -> Op[list[str]]:
    """All runs of a task that are due later, in no order.

    The indexes of runs are capped by the time of the enqueue, and may have lost one that was made long before it is due.
    A run that is moved to its queue meanwhile may be among them or not.
    """
    found: list[str] = []
    cursor = 0
    while True:
        cursor, page = yield Command("ZSCAN", keys.scheduler_runs, cursor, "COUNT", _PAGE)
        runs = [run.decode() for run, _ in page]
        tasks = yield Pipeline([Command("HGET", keys.rq_job(run), "task") for run in runs])
        found += [run for run, owner in zip(runs, tasks, strict=True) if owner is not None and owner.decode() == task]
        if not cursor:
            return found
