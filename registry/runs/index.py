"""Lists of runs: from the sorted sets that enqueueing writes, and those of some statuses from where all of that status stand.

The sets of the enqueues are capped, and hold each run whatever became of it. So runs that failed or were cancelled are read from RQ's
registries of them: those that are kept for days are found behind however many that were enqueued since, and a few among many cost
no look at all the others. Runs that are due later, to be tried the first time or again, come from the set that decides when.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskq.registry import clock
from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.names import check
from taskq.registry.runs.document import RunDocument, read_runs
from taskq.registry.runs.statuses import Status, check_status, from_rq

_PAGE: Final = 500
# Statuses that have a registry of RQ's, and its kind.
_KINDS: Final = {"failed": "failed", "cancelled": "canceled"}


def list_runs(keys: Keys, task: str | None = None, status: str | None = None, limit: int = 200) -> Op[list[RunDocument]]:
    """Documents of the newest runs, newest first; of status ``scheduled`` or ``retrying`` those that are due first, in that order; of
    status ``failed`` or ``cancelled`` those that ended last.

    Runs whose record has expired are left out, and out of the index from then on; one of an unknown format is left out.

    Args:
        keys: of the namespace.
        task: only runs of this task.
        status: only runs of this status (a word of `statuses.STATUSES`).
        limit: how many at most.

    Raises:
        InvalidInput: task, status or limit can't be.
    """
    index = keys.runs if task is None else keys.runs_of(check("task", task))
    wanted = None if status is None else check_status(status)
    if limit < 1:
        raise InvalidInput(f"limit {limit} must be at least 1")
    if wanted in ("scheduled", "retrying"):
        return (yield from _scheduled(keys, wanted, task, limit))
    if wanted in _KINDS:
        ended: dict[str, RunDocument] = {}
        yield from _read(keys, (yield from ended_runs(keys, wanted, task=task, limit=limit)), ended, limit)
        return list(ended.values())
    found: dict[str, RunDocument] = {}
    start = 0
    while len(found) < limit:
        page = yield Command("ZREVRANGE", index, start, start + _PAGE - 1)
        if not page:
            break
        # Runs that are enqueued meanwhile push the page down, so that its first ones may have been seen.
        runs = [run.decode() for run in page if run.decode() not in found]
        alive, gone = yield from _select(keys, runs, wanted)
        yield from _forget(index, gone)
        yield from _read(keys, alive, found, limit)
        start += len(page) - len(gone)
    return list(found.values())


def ended_runs(
    keys: Keys, status: Status, *, task: str | None = None, reason: str | None = None, since: float | None = None, limit: int = 200
) -> Op[list[str]]:
    """Ids of runs that failed or were cancelled, those that ended last first.

    Args:
        keys: of the namespace. ``status``: ``failed`` or ``cancelled``.
        task, reason: only runs of this task, with this reason.
        since: only runs that ended in the last so many seconds, by Redis' clock.
        limit: how many at most. Where tasks that share a queue keep their runs for different times, those that are kept longer come
            first in the choice.

    Raises:
        InvalidInput: status, task or limit can't be.
    """
    kind = _KINDS.get(check_status(status))
    if kind is None:
        raise InvalidInput(f"status {status!r} is not one of {', '.join(_KINDS)}")
    if task is not None:
        check("task", task)
    if limit < 1:
        raise InvalidInput(f"limit {limit} must be at least 1")
    earliest = ""
    if since is not None:
        seconds, micros = yield Command("TIME")
        earliest = clock.rq_format(max(0.0, int(seconds) + int(micros) / 1e6 - since))
    prefix = keys.rq_queue("")
    queues = [name.decode() for name in (yield Command("SMEMBERS", keys.rq_queues))]
    found: list[tuple[str, str]] = []
    for queue in sorted(name.removeprefix(prefix) for name in queues if name.startswith(prefix)):
        found += yield from _ended_in(keys.rq_registry(kind, queue), keys, status, (task, reason, earliest), limit)
    return [run for _, run in sorted(found, reverse=True)[:limit]]


def _ended_in(
    registry: str, keys: Keys, status: Status, wanted: tuple[str | None, str | None, str], limit: int
) -> Op[list[tuple[str, str]]]:
    """End and id of runs in one registry of RQ's; ``wanted``: task, reason, the earliest end."""
    task, reason, earliest = wanted
    found: dict[str, str] = {}
    start = 0
    while len(found) < limit:
        page = [run.decode() for run in (yield Command("ZREVRANGE", registry, start, start + _PAGE - 1))]
        if not page:
            break
        start += len(page)
        rows = yield Pipeline([Command("HMGET", keys.rq_job(run), "taskq", "status", "task", "reason", "ended_at") for run in page])
        for run, row in zip(page, rows, strict=True):
            ours, known, owner, why, ended = ((value or b"").decode(errors="replace") for value in row)
            fits = ours and from_rq(known or "created") == status and ended >= earliest
            if fits and task in (None, owner) and reason in (None, why or ("error" if status == "failed" else "")):
                found[run] = ended
    return [(ended, run) for run, ended in found.items()]


def _scheduled(keys: Keys, wanted: Status, task: str | None, limit: int) -> Op[list[RunDocument]]:
    """Runs that are due later, from the set that decides when: the indexes may have lost one that was made long ago."""
    found: dict[str, RunDocument] = {}
    start = 0
    while len(found) < limit:
        page = yield Command("ZRANGE", keys.scheduler_runs, start, start + _PAGE - 1)
        if not page:
            break
        runs = [run.decode() for run in page if run.decode() not in found]
        alive, _ = yield from _select(keys, runs, wanted, task)
        yield from _read(keys, alive, found, limit)
        # Runs that became due meanwhile have left the set at its head: if the last one did, all before it did.
        rank = yield Command("ZRANK", keys.scheduler_runs, page[-1])
        start = 0 if rank is None else rank + 1
    return list(found.values())


def _select(keys: Keys, runs: Sequence[str], wanted: str | None, task: str | None = None) -> Op[tuple[list[str], list[str]]]:
    """Which of the runs have the wanted status (and task), and which have no record any more."""
    if not runs:
        return [], []
    states = yield Pipeline([Command("HMGET", keys.rq_job(run), "status", "attempt", "task") for run in runs])
    alive, gone = [], []
    for run, (status, attempt, owner) in zip(runs, states, strict=True):
        if status is None:
            gone.append(run)
        elif (wanted is None or from_rq(status.decode(), int(attempt or 0)) == wanted) and (task is None or owner == task.encode()):
            alive.append(run)
    return alive, gone


def _read(keys: Keys, runs: Sequence[str], found: dict[str, RunDocument], limit: int) -> Op[None]:
    """Add the documents of runs to those that were found, until there are ``limit``."""
    while runs and len(found) < limit:
        wave, runs = runs[: limit - len(found)], runs[limit - len(found) :]
        documents = yield from read_runs(keys, wave)
        found.update({run: document for run, document in zip(wave, documents, strict=True) if isinstance(document, dict)})


def _forget(index: str, runs: Sequence[str]) -> Op[None]:
    if runs:
        yield Command("ZREM", index, *runs)
