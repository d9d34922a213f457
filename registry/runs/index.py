"""Lists of runs, newest first, from the sorted sets that enqueueing writes."""

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
    """Documents of the newest runs.

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
        while alive and len(found) < limit:
            wave, alive = alive[: limit - len(found)], alive[limit - len(found) :]
            documents = yield from read_runs(keys, wave)
            found.update({run: document for run, document in zip(wave, documents, strict=True) if isinstance(document, dict)})
        start += len(page) - len(gone)
    return list(found.values())


def _select(keys: Keys, runs: Sequence[str], wanted: str | None) -> Op[tuple[list[str], list[str]]]:
    """Which of the runs have the wanted status, and which have no record any more."""
    if not runs:
        return [], []
    states = yield Pipeline([Command("HMGET", keys.rq_job(run), "status", "attempt") for run in runs])
    alive, gone = [], []
    for run, (status, attempt) in zip(runs, states, strict=True):
        if status is None:
            gone.append(run)
        elif wanted is None or from_rq(status.decode(), int(attempt or 0)) == wanted:
            alive.append(run)
    return alive, gone


def _forget(index: str, runs: Sequence[str]) -> Op[None]:
    if runs:
        yield Command("ZREM", index, *runs)
