"""Lists of runs from the sorted sets that enqueueing writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.names import check
from taskq.registry.runs.document import RunDocument, read_runs
from taskq.registry.runs.statuses import check_status, from_rq

_PAGE: Final = 500


def list_runs(keys: Keys, task: str | None = None, status: str | None = None, limit: int = 200) -> Op[list[RunDocument]]:
    """Documents of the newest runs, newest first; of status ``scheduled`` those that are due first, in that order.

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
    if wanted == "scheduled":
        return (yield from _scheduled(keys, task, limit))
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


def _scheduled(keys: Keys, task: str | None, limit: int) -> Op[list[RunDocument]]:
    """Runs that are due later, from the set that decides when: the indexes may have lost one that was made long ago."""
    found: dict[str, RunDocument] = {}
    start = 0
    while len(found) < limit:
        page = yield Command("ZRANGE", keys.scheduler_runs, start, start + _PAGE - 1)
        if not page:
            break
        runs = [run.decode() for run in page if run.decode() not in found]
        alive, _ = yield from _select(keys, runs, "scheduled", task)
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
