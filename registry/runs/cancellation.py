"""Taking back a run that waits."""

from __future__ import annotations

from typing import Final

from taskq.registry.effects import Call, Command, Op
from taskq.registry.errors import Conflict, NotFound
from taskq.registry.keys import Keys
from taskq.registry.model.event import run_event
from taskq.registry.model.spec import Spec
from taskq.registry.names import check
from taskq.registry.runs.statuses import TERMINAL, from_rq
from taskq.registry.scripts import load
from taskq.registry.settings import Settings

_DEFAULT_TTL: Final = float(Spec.model_fields["result_ttl"].default)


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
    job = keys.rq_job(check("run", run))
    task = yield Command("HGET", job, "task")
    if task is None:
        raise NotFound(f"there is no run {run}")
    ttl = _DEFAULT_TTL if settings.result_ttl is None else settings.result_ttl
    event = ""
    if settings.events != "off":
        event = run_event("cancelled", namespace=keys.namespace, task=task.decode(), run=run, status="cancelled", reason=reason or None)
    names = [job, keys.rq_results(run), keys.events, keys.scheduler_runs]
    reply = yield Call(load("cancel"), names, [run, keys.rq, keys.prefix, max(1, int(ttl)), reason, event])
    answer = reply.decode()
    if answer == "missing":
        raise NotFound(f"there is no run {run}")
    if answer != "cancelled":
        status = from_rq(answer)
        state = f"has ended: {status}" if status in TERMINAL else f"is {status}"
        raise Conflict(f"run {run} {state}; only a run that waits can be cancelled", hint="see `taskq status`")
