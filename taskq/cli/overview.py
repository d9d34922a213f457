"""Operations that put together what `queues` and `doctor` show: queues, failed loads, clocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from taskq.registry import clock
from taskq.registry.changes.fleet import live_workers, read_worker
from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.keys import Keys
from taskq.registry.model.record import TaskRecord, readable_records
from taskq.registry.model.worker import LoadReport, WorkerReport
from taskq.registry.settings import Settings


class QueueRow(TypedDict):
    """One queue: runs that wait, are due later, run, or are put aside since their task is paused; active tasks on it; workers
    that serve it."""

    queue: str
    queued: int
    scheduled: int
    running: int
    parked: int
    tasks: int
    workers: list[str]


def queue_rows(keys: Keys, settings: Settings) -> Op[list[QueueRow]]:
    """Each queue that holds runs, is served by a live worker, or is named by a task that is not retired; by name."""
    workers = yield from live_workers(keys, settings)
    known: list[bytes] = yield Command("SMEMBERS", keys.rq_queues)
    records = readable_records((yield Command("HVALS", keys.registry)))
    start = keys.rq_queue("")
    names = {key.decode().removeprefix(start) for key in known if key.decode().startswith(start)}
    names |= {queue for worker in workers for queue in worker.queues} | {record.spec.queue for record in records}
    parked = yield from _parked(keys, records)
    ordered = sorted(names)
    counts = yield Pipeline([command for name in ordered for command in _counts(keys, name)])
    return [
        QueueRow(
            queue=name,
            queued=counts[3 * at],
            scheduled=counts[3 * at + 1],
            running=counts[3 * at + 2],
            parked=parked.get(name, 0),
            tasks=sum(record.spec.queue == name for record in records),
            workers=sorted(worker.worker for worker in workers if name in worker.queues),
        )
        for at, name in enumerate(ordered)
    ]


def failed_loads(keys: Keys, workers: Iterable[WorkerReport]) -> Op[list[tuple[str, LoadReport]]]:
    """Worker and report of each version that a worker could not load, as far as the route still names it."""
    routes = {record.task: record.route for record in readable_records((yield Command("HVALS", keys.registry)))}
    found = []
    for worker in workers:
        _, reports = yield from read_worker(keys, worker.worker)
        for report in reports:
            route = routes.get(report.task)
            if report.state == "failed" and route and report.version in (route.stable, route.staged):
                found.append((worker.worker, report))
    return found


def unheld_limits(keys: Keys, workers: Iterable[WorkerReport]) -> Op[list[tuple[str, str, list[str]]]]:
    """Task, worker and names of the limits of that task's runs that the worker, which serves its queue, can't enforce."""
    records = readable_records((yield Command("HVALS", keys.registry)))
    found = []
    for worker in workers:
        enforced = worker.limits.enforces if worker.limits else ()
        for record in records:
            if record.spec.resources is not None and record.spec.queue in worker.queues:
                unheld = [name for name in record.spec.resources.wanted if name not in enforced]
                if unheld:
                    found.append((record.task, worker.worker, unheld))
    return sorted(found)


def clock_skew(seconds: float, before: float, after: float) -> float:
    """How far the server's clock is ahead of this machine's, given its time and ours before and after the question."""
    if before <= seconds <= after:
        return 0.0
    return seconds - (before if seconds < before else after)


def server_time() -> Op[tuple[float, float]]:
    """Skew of the server's clock and duration of one round trip, in seconds."""
    yield Command("PING")
    begin, before = clock.monotonic(), clock.now()
    seconds, microseconds = yield Command("TIME")
    return clock_skew(int(seconds) + int(microseconds) / 1e6, before, clock.now()), clock.monotonic() - begin


def _parked(keys: Keys, records: Iterable[TaskRecord]) -> Op[dict[str, int]]:
    queues = {record.task: record.spec.queue for record in records}
    tasks = sorted(task.decode() for task in (yield Command("SMEMBERS", keys.parked_tasks)))
    lengths = yield Pipeline([Command("LLEN", keys.parked(task)) for task in tasks])
    counts: dict[str, int] = {}
    for task, length in zip(tasks, lengths, strict=True):
        queue = queues.get(task, "default")
        counts[queue] = counts.get(queue, 0) + length
    return counts


def _counts(keys: Keys, queue: str) -> tuple[Command, Command, Command]:
    """What asks for the runs of a queue that wait, are due later, and run."""
    scheduled, running = (Command("ZCARD", keys.rq_registry(kind, queue)) for kind in ("scheduled", "wip"))
    return Command("LLEN", keys.rq_queue(queue)), scheduled, running
