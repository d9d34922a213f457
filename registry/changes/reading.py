"""What the registry holds, as documents for people and programs (times in ISO 8601)."""

from __future__ import annotations

import difflib
import io
import json
import tokenize
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from taskq.registry import clock
from taskq.registry.changes.failures import recent
from taskq.registry.changes.fleet import known_workers, live_workers, load_reports, read_worker
from taskq.registry.code.artifact import read_artifact
from taskq.registry.effects import Command, Op
from taskq.registry.errors import FormatUnknown, InvalidInput, NotFound
from taskq.registry.keys import Keys
from taskq.registry.model.base import Stored
from taskq.registry.model.change import Change
from taskq.registry.model.record import TaskRecord, VersionRecord
from taskq.registry.model.worker import LoadReport, WorkerReport
from taskq.registry.names import check
from taskq.registry.schedules.schedule import schedules_of
from taskq.registry.settings import Settings

_PAGE: Final = 200
S = TypeVar("S", bound=Stored)


# -- records -----------------------------------------------------------------------------------------------
def read_record(keys: Keys, task: str) -> Op[TaskRecord]:
    """A task's record; `NotFound` if there is none."""
    blob = yield Command("HGET", keys.registry, check("task", task))
    if blob is None:
        raise NotFound(f"there is no task {task}", hint="see `taskq list`")
    return TaskRecord.load(blob)


def read_version(keys: Keys, task: str, version: int) -> Op[VersionRecord]:
    """A version's record; `NotFound` if the task or the version does not exist."""
    blob = yield Command("HGET", keys.versions(check("task", task)), str(version))
    if blob is None:
        record = yield from read_record(keys, task)
        raise NotFound(f"task {task} has no version {version}, its latest is {record.latest}", hint="see `taskq history`")
    return VersionRecord.load(blob)


def read_revision(keys: Keys) -> Op[int]:
    """The registry's revision."""
    return int((yield Command("GET", keys.revision)) or 0)


# -- tasks -------------------------------------------------------------------------------------------------
def list_tasks(keys: Keys) -> Op[list[dict[str, Any]]]:
    """A document for each task, by name; those of another release are left out."""
    records = [_readable(TaskRecord, blob) for blob in (yield Command("HVALS", keys.registry))]
    return sorted((task_document(record) for record in records if record is not None), key=lambda document: str(document["task"]))


def _readable(kind: type[S], blob: bytes) -> S | None:
    try:
        return kind.load(blob)
    except FormatUnknown:
        return None


def show_task(keys: Keys, task: str) -> Op[dict[str, Any]]:
    """The document of one task with its ``spec`` and ``parameters``."""
    record = yield from read_record(keys, task)
    spec = record.spec.model_dump(mode="json")
    parameters = spec.pop("parameters")
    return task_document(record) | {"spec": spec, "parameters": parameters["json_schema"]}


def task_document(record: TaskRecord) -> dict[str, Any]:
    """A task as `list` shows it."""
    return {
        "task": record.task,
        "state": record.state,
        "stable": record.route.stable,
        "staged": record.route.staged,
        "canaries": [],
        "shadow": None,
        "latest": record.latest,
        "revision": record.revision,
        "origin": record.origin,
        "file": record.file,
        "queue": record.spec.queue,
        "labels": record.spec.labels,
        "schedules": [{"schedule": schedule.text, "timezone": schedule.timezone} for schedule in schedules_of(record.spec)],
        "withdrawn": list(record.withdrawn),
    }


def history(keys: Keys, task: str) -> Op[list[dict[str, Any]]]:
    """A document for each version of a task, newest first; those of another release are left out."""
    record = yield from read_record(keys, task)
    blobs = yield Command("HVALS", keys.versions(task))
    found = (_readable(VersionRecord, blob) for blob in blobs)
    versions = sorted((version for version in found if version is not None), key=lambda version: -version.version)
    return [
        {
            "version": version.version,
            "digest": version.digest,
            "artifact": version.artifact,
            "author": version.author,
            "message": version.message,
            "created_at": clock.iso(version.created_at),
            "state": _state_of(version.version, record),
        }
        for version in versions
    ]


def _state_of(version: int, record: TaskRecord) -> str:
    if version == record.route.stable:
        return record.state
    if version == record.route.staged:
        return "staged"
    return "withdrawn" if version in record.withdrawn else "inactive"


# -- code --------------------------------------------------------------------------------------------------
def source(keys: Keys, task: str, version: int | None = None) -> Op[str]:
    """The code of a version: of the stable one if None, of the latest where there is no stable one."""
    if version is None:
        record = yield from read_record(keys, task)
        version = record.route.stable or record.latest
    found = yield from read_version(keys, task, version)
    data = yield from read_artifact(keys, found.digest)
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding, errors="replace")


def diff(keys: Keys, task: str, a: int, b: int) -> Op[str]:
    """Unified diff from version ``a`` to ``b``: of the code, then of the spec; empty if they are equal."""
    texts: dict[int, tuple[str, str]] = {}
    for version in dict.fromkeys((a, b)):
        record = yield from read_version(keys, task, version)
        code = yield from source(keys, task, version)
        texts[version] = (code, json.dumps(record.spec.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    parts = [_unified(texts[a][index], texts[b][index], (task, a, b), what) for index, what in enumerate(("source", "spec"))]
    return "".join(parts)


def _unified(before: str, after: str, names: tuple[str, int, int], what: str) -> str:
    task, a, b = names
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"{task} {a} {what}", f"{task} {b} {what}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


# -- the change log ----------------------------------------------------------------------------------------
def audit(keys: Keys, task: str | None = None, limit: int = 200) -> Op[list[dict[str, Any]]]:
    """Who changed what, when and why, newest first: at most ``limit`` changes, of one task if named.

    Entries of another release are left out.

    Raises:
        NotFound: there is no such task. InvalidInput: ``limit`` is not positive.
    """
    if limit < 1:
        raise InvalidInput(f"limit {limit} is not allowed: it is at least 1")
    if task is not None:
        yield from read_record(keys, task)
    changes = yield from _changes(keys, task, limit)
    return [_change_document(change, task) for change in changes if change is not None]


def _changes(keys: Keys, task: str | None, limit: int) -> Op[list[Change | None]]:
    """The last changes, newest first, read page by page so that a long log does not come at once; None for an unreadable one."""
    found: list[Change | None] = []
    end = "+"
    while len(found) < limit:
        entries = yield Command("XREVRANGE", keys.changelog, end, "-", "COUNT", _PAGE)
        for _, fields in entries:
            if task is None or task.encode() in fields.get(b"tasks", b"").split(b"\n"):
                found.append(_readable(Change, fields.get(b"change", b"")))
        if len(entries) < _PAGE:
            break
        end = f"({entries[-1][0].decode()}"
    return found[:limit]


def _change_document(change: Change, task: str | None) -> dict[str, Any]:
    return {
        "revision": change.revision,
        "type": change.type,
        "action": change.action,
        "at": clock.iso(change.at),
        "who": change.who,
        "why": change.why,
        "tasks": [
            {"task": item.task, "version": item.version, "digest": item.digest, "before": _route(item.before), "after": _route(item.after)}
            for item in change.tasks
            if task is None or item.task == task
        ],
    }


def _route(record: dict[str, Any] | None) -> dict[str, Any] | None:
    if record is None:
        return None
    route = record.get("route") or {}
    return {"state": record.get("state", "active"), "stable": route.get("stable"), "staged": route.get("staged")}


def stable_before(keys: Keys, record: TaskRecord) -> Op[int | None]:
    """The version that was stable before the current one and was not rolled back from; None if there is none.

    As the change log has it; where it was trimmed, the highest version below the current one.

    Raises:
        FormatUnknown: another release has changed the task, so that nobody here knows.
    """
    changes = []
    for change in (yield from _changes(keys, record.task, 1_000_000)):
        if change is None:
            raise FormatUnknown(f"task {record.task} was changed by another release of taskq", hint="name the version to go back to")
        changes.append(change)
    for version in _stables(changes, record.task):
        if version != record.route.stable and version not in record.withdrawn:
            return version
    current = record.route.stable or record.latest + 1
    rest = [version for version in range(1, current) if version not in record.withdrawn]
    # Without a log that reaches back to the beginning nobody knows which of them ever were stable.
    return rest[-1] if rest and not any(item.task == record.task and item.before is None for c in changes for item in c.tasks) else None


def _stables(changes: list[Change], task: str) -> Iterator[int]:
    for change in changes:
        for item in change.tasks:
            before = (item.before or {}).get("route") or {}
            if item.task == task and before.get("stable") is not None:
                yield before["stable"]


# -- workers -----------------------------------------------------------------------------------------------
def workers(keys: Keys, settings: Settings) -> Op[list[dict[str, Any]]]:
    """A document for each worker that is not forgotten yet, by name; one that went silent is ``gone``."""
    documents = []
    for name, age in sorted((yield from known_workers(keys))):
        report, loads = yield from read_worker(keys, name)
        gone = age >= settings.worker_ttl or report is None
        documents.append(_worker_document(report or WorkerReport(worker=name), loads, gone=gone))
    return documents


def _worker_document(report: WorkerReport, loads: list[LoadReport], *, gone: bool) -> dict[str, Any]:
    ready = sorted((load.task, load.version) for load in loads if load.state == "ready")
    return {
        "worker": report.worker,
        "host": report.host,
        "pid": report.pid,
        "state": "gone" if gone else report.state,
        "revision": report.revision,
        "queues": list(report.queues),
        "executors": report.executors,
        "running": report.running,
        "loaded": [{"task": task, "version": version} for task, version in ready],
        "heartbeat": clock.iso(report.heartbeat) if report.heartbeat else None,
    }


def rollout(keys: Keys, settings: Settings, task: str) -> Op[dict[str, Any]]:
    """How far the route of a task has come: one row for each live worker that serves its queue, and why the last rollout failed."""
    record = yield from read_record(keys, task)
    version = record.route.stable or record.route.staged
    live = yield from live_workers(keys, settings)
    serving = sorted((worker for worker in live if record.spec.queue in worker.queues), key=lambda worker: worker.worker)
    pairs = [] if version is None else [(task, version)]
    reports = yield from load_reports(keys, [worker.worker for worker in serving], pairs)
    rows = [_rollout_row(worker, record, version, next(iter(reports[worker.worker].values()), None)) for worker in serving]
    outcomes = yield from recent(keys, task)
    last = next((outcome for outcome in outcomes if outcome["state"] in ("failed", "switched")), None)
    failed = last if last and last["state"] == "failed" else None
    switched = next((outcome for outcome in outcomes if outcome["state"] == "switched" and outcome["version"] == record.route.stable), None)
    return {
        "task": task,
        "revision": record.revision,
        "converged": record.route.stable is not None and all(row["state"] == "ready" for row in rows),
        "seconds": switched["seconds"] if switched else None,
        "workers": rows,
        "failure": failed and {"at": clock.iso(failed["at"]), "version": failed["version"], "errors": failed["errors"]},
    }


def _rollout_row(worker: WorkerReport, record: TaskRecord, version: int | None, load: LoadReport | None) -> dict[str, Any]:
    # Without a report it loads the version at its first use: a starting worker loads only the latest tasks ahead.
    state = "behind" if worker.revision < record.revision else "ready"
    if load is not None and load.state == "failed":
        state = "failed"
    return {
        "worker": worker.worker,
        "revision": worker.revision,
        "version": version if load is not None and load.state == "ready" else None,
        "state": state,
        "load_ms": load.load_ms if load else None,
        "error": load.error if load else None,
    }
