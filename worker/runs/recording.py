"""How verdicts are recorded: the arguments of ``finish.lua`` and ``release.lua``. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from taskq.registry.model.event import RunEventType, run_event
from taskq.registry.model.spec import Spec
from taskq.registry.settings import Settings
from taskq.worker.runs.run import Run
from taskq.worker.runs.statistics import Counts, stats_args
from taskq.worker.runs.verdicts import Finish, Release, attempt_record, stored_result, stored_traceback

_EVENTS: dict[str, RunEventType] = {"finished": "succeeded", "failed": "failed", "canceled": "cancelled"}
_DEFAULT = Spec.model_validate({})
# Values of one run among the arguments of finish.lua.
_ROW = 5
# Stands for a run's id in an event that is made for many runs; no JSON string escapes any of it, no other text holds it.
_ANY_RUN = "run-3f6d1c5e9b7a4e0d"


def finish_args(
    items: Iterable[tuple[Run, Finish]], settings: Settings, *, only_expired: bool = False, counts: Counts | None = None
) -> list[Any]:
    """The arguments of ``finish.lua`` from the number of groups on.

    What outcomes have in common, nearly all of it for runs of one task, is sent and worked out once.

    Args:
        items: the outcomes. ``settings``: of the process.
        only_expired: they are recorded only where their leases have expired.
        counts: further counts for the statistics, or None.
    """
    groups: dict[tuple[Any, ...], int] = {}
    common: list[Any] = []
    rows: list[Any] = []
    for run, finish in items:
        key = (
            run.task, run.version, run.origin, run.attempt, run.cause, run.noted, run.told, id(run.spec),
            finish.status, finish.reason, finish.error, finish.traceback, finish.losses,
        )  # fmt: skip
        number = groups.get(key)
        if number is None:
            number = groups[key] = len(groups) + 1
            common += _group(run, finish, settings, only_expired=only_expired)
        rows += (number, run.id, run.token, f"{run.started_at or run.claimed_at:.6f}", stored_result(finish.result))
    return [len(groups), len(rows) // _ROW, *common, *rows, *(stats_args(counts) if counts else ())]


def _group(run: Run, finish: Finish, settings: Settings, *, only_expired: bool) -> list[Any]:
    status = _EVENTS[finish.status]
    begun = () if run.told or not run.began else event_parts("started", run, settings)
    return [
        run.origin,
        finish.status,
        run.version or "",
        finish.reason,
        finish.error,
        stored_traceback(finish.traceback),
        kept_for(run.spec, finish, settings),
        "" if finish.losses is None else finish.losses,
        "1" if run.noted else "",
        "1" if only_expired else "",
        *(begun or ("", "")),
        *event_parts(status, run, settings, status=status, reason=finish.reason, error=finish.error),
    ]


def release_args(run: Run, release: Release, settings: Settings, *, worker: str, now: float) -> list[Any]:
    """One run's arguments of ``release.lua``; ``worker`` had it, until ``now`` (seconds by Redis' clock)."""
    return [
        run.id,
        run.token,
        run.origin,
        run.task,
        f"+{math.ceil(release.delay * 1000)}" if release.where == "later" else release.where,
        "1" if release.burned else "",
        "" if release.losses is None else release.losses,
        attempt_record(run, worker, release, now),
        "",
        event_of("started", run, settings) if release.outcome and run.began and not run.told else "",
        _given_back(run, release, settings),
    ]


def _given_back(run: Run, release: Release, settings: Settings) -> str:
    """The event of an attempt that counts and is followed by another one."""
    if release.where == "later":
        return event_of("retrying", run, settings, status="retrying", reason=release.outcome, error=release.error)
    return event_of("lost", run, settings, reason=release.outcome, error=release.error) if release.burned else ""


def retry_lines(run: Run, release: Release, now: float) -> list[list[Any]]:
    """What the log of a run says of an attempt that is followed by a retry: its record holds one line, and its traceback would be lost."""
    if release.where != "later":
        return []
    head = f"attempt {run.attempt} failed ({release.outcome}); the next one in {release.delay:.3g} s"
    return [[now, "ERROR", f"{head}\n{release.traceback or release.error}".rstrip()]]


def kept_for(spec: Spec | None, finish: Finish, settings: Settings) -> int:
    """How long an outcome is kept, in whole seconds."""
    known = spec or _DEFAULT
    if finish.status == "finished":
        seconds = known.result_ttl if settings.result_ttl is None else settings.result_ttl
    else:
        seconds = known.failure_ttl if settings.failure_ttl is None else settings.failure_ttl
    return math.ceil(seconds)


def event_of(kind: RunEventType, run: Run, settings: Settings, **data: str) -> str:
    """The body of a run's event, '' where none is published; empty fields are left out."""
    head, tail = event_parts(kind, run, settings, **data)
    return head and head + run.id + tail


def event_parts(kind: RunEventType, run: Run, settings: Settings, **data: str) -> tuple[str, str]:
    """The body of an event up to the run's id, and from there on: the same for all runs alike; '' twice for no event."""
    if settings.events == "off" or (kind == "started" and settings.events != "all"):
        return "", ""
    body = run_event(
        kind,
        namespace=settings.namespace,
        task=run.task,
        run=_ANY_RUN,
        version=run.version or None,
        attempt=run.attempt,
        cause=run.cause,
        **{name: value for name, value in data.items() if value},
    )
    head, _, tail = body.partition(_ANY_RUN)
    return head, tail
