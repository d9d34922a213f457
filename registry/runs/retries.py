"""Queueing runs that have failed or were cancelled once more: the same runs, with the attempts that they had.

A retried run waits at the end of the queue that its task has now, and takes the task's route of the time when it is claimed; a pinned one
keeps its version. Its attempts go on being numbered; its retries by policy and its losses are counted anew. Its record no longer expires.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskq.registry import clock
from taskq.registry.effects import Call, Command, Op, Pipeline
from taskq.registry.errors import Conflict, FormatUnknown, NotFound, TaskqError, TaskRetired
from taskq.registry.keys import Keys
from taskq.registry.model.event import run_event
from taskq.registry.model.record import TaskRecord
from taskq.registry.names import check
from taskq.registry.runs.attempts import attempt_blob
from taskq.registry.runs.creation import INDEX_CAP
from taskq.registry.runs.statuses import TERMINAL, from_rq
from taskq.registry.scripts import load
from taskq.registry.settings import Settings

MAX_BATCH: Final = 100
"""Runs in one call of the script: what Redis does without looking at another client."""

_MOST_MOVES: Final = 100
_FIELDS: Final = ("taskq", "task", "status", "ended_at", "attempt", "version", "worker_name", "reason", "error", "started_at")
_FORMAT: Final = "1"
_AGAIN: Final = frozenset({"failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of one run: ``error`` is None where it is queued again, else why it is not."""

    run: str
    error: TaskqError | None = None


def retry_run(keys: Keys, settings: Settings, run: str) -> Op[None]:
    """Queue a failed or cancelled run once more.

    Args:
        keys, settings: of the namespace. ``run``: its id.

    Raises:
        InvalidInput: ``run`` can't be an id.
        NotFound: no such run, its record has expired, or its task is not in the registry.
        TaskRetired: its task accepts no runs.
        Conflict: it waits, runs or has succeeded; the message says which.
    """
    (answer,) = yield from retry_runs(keys, settings, [check("run", run)])
    if answer.error is not None:
        raise answer.error


def retry_runs(keys: Keys, settings: Settings, runs: Sequence[str]) -> Op[list[Retried]]:
    """Queue failed or cancelled runs once more, at most `MAX_BATCH` of them; returns for each what became of it, in their order, once.

    Raises:
        Conflict: the registry changed all the time; nothing was written.
    """
    runs = list(dict.fromkeys(runs))
    for _ in range(_MOST_MOVES):
        revision = ((yield Command("GET", keys.revision)) or b"0").decode()
        found = yield from _read(keys, runs)
        tasks = yield from _tasks(keys, {fields["task"] for fields in found if "task" in fields})
        refused = {run: _refusal(run, fields, tasks) for run, fields in zip(runs, found, strict=True)}
        wanted = [(run, fields) for run, fields in zip(runs, found, strict=True) if refused[run] is None]
        answers = (yield from _call(keys, settings, revision, wanted, tasks)) if wanted else []
        if answers is None:
            continue
        for (run, _), answer in zip(wanted, answers, strict=True):
            if answer != "retried":
                refused[run] = NotFound(f"there is no run {run}") if answer == "missing" else _conflict(run, answer)
        return [Retried(run, refused[run]) for run in runs]
    raise Conflict("the registry changed all the time", hint="try again")


def _read(keys: Keys, runs: Sequence[str]) -> Op[list[dict[str, str]]]:
    rows = yield Pipeline([Command("HMGET", keys.rq_job(run), *_FIELDS) for run in runs])
    return [{name: value.decode(errors="replace") for name, value in zip(_FIELDS, row, strict=True) if value} for row in rows]


def _tasks(keys: Keys, names: set[str]) -> Op[dict[str, TaskRecord | TaskqError]]:
    ordered = sorted(names)
    blobs = yield Pipeline([Command("HGET", keys.registry, name) for name in ordered])
    return {name: _task(name, blob) for name, blob in zip(ordered, blobs, strict=True)}


def _task(name: str, blob: bytes | None) -> TaskRecord | TaskqError:
    if blob is None:
        return NotFound(f"there is no task {name}: its runs can't be retried", hint="register it again")
    try:
        record = TaskRecord.load(blob)
    except FormatUnknown as error:
        return error
    if record.state == "retired":
        return TaskRetired(f"task {name} is retired: its runs can't be retried", hint="register it again to use it")
    return record


def _refusal(run: str, fields: Mapping[str, str], tasks: Mapping[str, TaskRecord | TaskqError]) -> TaskqError | None:
    if "taskq" not in fields or "status" not in fields:
        return NotFound(f"there is no run {run}", hint="records of ended runs expire after the task's result_ttl or failure_ttl")
    if fields["taskq"] != _FORMAT:
        return FormatUnknown(f"run {run} has format {fields['taskq']}, this release reads {_FORMAT}")
    try:
        attempt, _ = int(fields.get("attempt", 0)), _last_attempt(fields)
    except (ValueError, OverflowError) as error:
        return FormatUnknown(f"the record of run {run} is damaged: {error}")
    if from_rq(fields["status"]) not in _AGAIN:
        return _conflict(run, fields["status"], attempt)
    task = tasks[fields["task"]]
    return task if isinstance(task, TaskqError) else None


def _conflict(run: str, rq_status: str, attempt: int = 0) -> Conflict:
    status = from_rq(rq_status, attempt)
    state = f"has ended: {status}" if status in TERMINAL else f"is {status}"
    return Conflict(f"run {run} {state}; only a run that failed or was cancelled can be retried", hint="see `taskq status`")


def _call(
    keys: Keys,
    settings: Settings,
    revision: str,
    runs: Sequence[tuple[str, Mapping[str, str]]],
    tasks: Mapping[str, TaskRecord | TaskqError],
) -> Op[list[str] | None]:
    """The script's word for each run; None where the registry has moved."""
    args: list[Any] = [revision, keys.rq, keys.prefix, INDEX_CAP]
    for run, fields in runs:
        task = tasks[fields["task"]]
        assert isinstance(task, TaskRecord)  # noqa: S101  # what has no record was refused before
        event = ""
        if settings.events == "all":
            event = run_event("queued", namespace=settings.namespace, task=task.task, run=run, status="queued")
        args += [run, task.task, keys.queue_name(task.spec.queue), fields.get("ended_at", ""), _last_attempt(fields), event]
    reply = yield Call(load("retry"), [keys.revision, keys.rq_queues, keys.runs, keys.events], args)
    return None if reply[0] == b"moved" else [word.decode() for word in reply[1:]]


def _last_attempt(fields: Mapping[str, str]) -> bytes:
    """The attempt that stands in the job's hash; empty where it has none: cancelled before it began."""
    started = clock.rq_parse(fields.get("started_at"))
    if started is None:
        return b""
    status = from_rq(fields["status"])
    version = fields.get("version", "")
    return attempt_blob(
        int(fields.get("attempt", 1)),
        fields.get("worker_name"),
        int(version) if version.isdigit() else None,
        outcome=fields.get("reason", "error") if status == "failed" else status,
        error=fields.get("error"),
        started_at=started,
        ended_at=clock.rq_parse(fields.get("ended_at")),
    )
