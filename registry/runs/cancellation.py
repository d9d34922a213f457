"""Taking back a run that waits, and asking for the end of one that runs.

A run that waits is ended by one script. One that runs is marked, and the worker that holds it is told: it stops the run by the ladder
of its deadlines and records it as cancelled. Nothing hangs on that message or on that worker. The request stands in a hash that each
worker reads with its heartbeat; and whoever gives a marked run back, the worker as it stops or the sweeper after its death,
ends it as cancelled instead, in the same script.
"""

from __future__ import annotations

import json
from typing import Final

from taskq.registry.effects import Arg, Call, Command, Op
from taskq.registry.errors import Conflict, FormatUnknown, NotFound
from taskq.registry.keys import Keys
from taskq.registry.model.event import run_event
from taskq.registry.model.record import TaskRecord
from taskq.registry.model.spec import Spec
from taskq.registry.names import check
from taskq.registry.runs.statuses import TERMINAL, from_rq
from taskq.registry.scripts import load
from taskq.registry.settings import Settings

_DEFAULT_TTL: Final = float(Spec.model_fields["result_ttl"].default)
_DEFAULT_GRACE: Final = float(Spec.model_fields["grace"].default)
# How long a worker may be without a heartbeat and still find what it was asked for.
_REMEMBERED: Final = 3600


def cancel_run(keys: Keys, settings: Settings, run: str, reason: str = "") -> Op[None]:
    """Cancel a run that waits in a queue, is due later, or was put aside because its task is paused.

    Args:
        keys, settings: of the namespace; ``settings.result_ttl`` is how long the record is kept.
        run: its id.
        reason: what is recorded as the reason, or ``""``.

    Raises:
        InvalidInput: ``run`` can't be an id.
        NotFound: no such run, or its record has expired.
        Conflict: it runs or has ended; the message says which.
    """
    answer, _ = yield from _cancel(keys, settings, run, reason, running=False)
    if answer != "cancelled":
        raise _conflict(run, answer, "only a run that waits can be cancelled")


def request_cancel(keys: Keys, settings: Settings, run: str, reason: str = "") -> Op[float | None]:
    """Cancel a run that waits, or ask the worker that holds it to stop it.

    Args:
        as of `cancel_run`.

    Returns:
        None where it is cancelled now; else its grace in seconds: how long the worker gives it to stop.

    Raises:
        InvalidInput, NotFound: as `cancel_run`.
        Conflict: it has ended; the message says how.
    """
    answer, task = yield from _cancel(keys, settings, run, reason, running=True)
    if answer == "cancelled":
        return None
    if answer != "asked":
        raise _conflict(run, answer, "there is nothing to cancel")
    return (yield from _grace(keys, task))


def _cancel(keys: Keys, settings: Settings, run: str, reason: str, *, running: bool) -> Op[tuple[str, str]]:
    """The script's answer, and the run's task."""
    job = keys.rq_job(check("run", run))
    task = yield Command("HGET", job, "task")
    if task is None:
        raise NotFound(f"there is no run {run}")
    ttl = _DEFAULT_TTL if settings.result_ttl is None else settings.result_ttl
    event = ""
    if settings.events != "off":
        event = run_event("cancelled", namespace=keys.namespace, task=task.decode(), run=run, status="cancelled", reason=reason or None)
    names = [job, keys.rq_results(run), keys.events, keys.scheduler_runs, keys.lease]
    message = json.dumps({"type": "cancel", "run": run, "reason": reason})
    args: list[Arg] = [run, keys.rq, keys.prefix, max(1, int(ttl)), reason, event, keys.control if running else "", message, _REMEMBERED]
    answer = (yield Call(load("cancel"), names, args)).decode()
    if answer == "missing":
        raise NotFound(f"there is no run {run}")
    return answer, task.decode()


def _conflict(run: str, answer: str, why: str) -> Conflict:
    status = from_rq(answer)
    state = f"has ended: {status}" if status in TERMINAL else f"is {status}"
    return Conflict(f"run {run} {state}; {why}", hint="see `taskq status`")


def _grace(keys: Keys, task: str) -> Op[float]:
    blob = yield Command("HGET", keys.registry, task)
    try:
        return TaskRecord.load(blob).spec.grace if blob else _DEFAULT_GRACE
    except FormatUnknown:
        return _DEFAULT_GRACE  # another release's: the worker that runs it knows
