"""A worker without processes: claims a run, executes it here, records its outcome; one at a time, when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from taskq.registry import clock
from taskq.registry.authoring.retry import RetryRequested
from taskq.registry.code.validation import Validator
from taskq.registry.effects import Call, Command, Op, Pipeline, run_sync
from taskq.registry.errors import TaskqError
from taskq.registry.feed.feed import read_changes
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.model.record import VersionRecord
from taskq.registry.runs.statuses import from_rq
from taskq.registry.scripts import load
from taskq.registry.settings import Settings
from taskq.testing.clock import Time
from taskq.testing.execution import aside, perform
from taskq.testing.faults import Fault, Faults
from taskq.testing.registration import Code
from taskq.worker.executor.gate import TaskStopped
from taskq.worker.link.protocol import Order
from taskq.worker.loading.routes import prepare, route
from taskq.worker.loading.stored import read_version
from taskq.worker.runs import verdicts
from taskq.worker.runs.lines import log_args, log_lines
from taskq.worker.runs.recording import finish_args, release_args, retry_lines
from taskq.worker.runs.run import Run, claimed_runs
from taskq.worker.runs.statistics import count
from taskq.worker.runs.verdicts import Finish, Release, Verdict

if TYPE_CHECKING:
    from redis import Redis

NAME: Final = "testing"
# What a task may raise and a test must not: everything else that is no Exception is meant for who runs the tests (Ctrl-C, pytest.fail).
_OUTCOMES: Final = (Exception, SystemExit, GeneratorExit, TaskStopped, RetryRequested, asyncio.CancelledError)


class Worker:
    """Works when it is told to.

    Args:
        redis, keys, settings: of the fleet. ``code``: the versions' code. ``time``: the fleet's.

    Attributes:
        faults: what is to go wrong.
        errors: run → what its code raised in its last attempt.
        attempts: how many it has executed.
    """

    def __init__(self, redis: Redis, keys: Keys, settings: Settings, code: Code, time: Time) -> None:
        self._redis, self._keys, self._settings, self._code, self._time = redis, keys, settings, code, time
        self._snapshot = Snapshot()
        self._versions: dict[tuple[str, int], tuple[VersionRecord, bytes, Validator]] = {}
        self.faults = Faults()
        self.errors: dict[str, BaseException] = {}
        self.attempts = 0

    def work(self, passed: Collection[str] = ()) -> tuple[str, Verdict] | None:
        """Claim and execute the run that has waited longest; returns its id and what became of it, or None if none waits.

        Args:
            passed: runs that are left where they are, with what waits behind them.
        """
        with aside(self._time):
            queue = run_sync(_longest(self._keys, passed), self._redis)
            return None if queue is None else self._take(queue)

    def work_on(self, run: str) -> tuple[str, Verdict] | None:
        """The same for this run, whatever waits before it, and whenever its next attempt is due; None if it does not wait."""
        with aside(self._time):
            queue = run_sync(_put_ahead(self._keys, run), self._redis)
            return None if queue is None else self._take(queue)

    def _take(self, queue: str) -> tuple[str, Verdict] | None:
        keys = self._keys
        names = [keys.leases, keys.lease, keys.fence, keys.revision, keys.rq_queue(queue)]
        call = Call(load("claim"), names, [NAME, int(self._settings.lease * 1000), 1, keys.rq])
        reply = run_sync(_single(call), self._redis)
        runs = claimed_runs(reply, [queue], keys)
        if not runs:
            return None
        if int(reply[0]) != self._snapshot.revision:
            run_sync(read_changes(keys, self._snapshot), self._redis)
        (run,) = runs
        error: BaseException | None = None
        verdict = self._route(run)
        if verdict is None:
            verdict, error = self._execute(run)
        self._settle(run, verdict)
        self.errors.pop(run.id, None)
        if error is not None:
            self.errors[run.id] = error
            if not isinstance(error, _OUTCOMES):
                raise error
        return run.id, verdict

    def _route(self, run: Run) -> Verdict | None:
        version = route(self._snapshot.tasks.get(run.task), run.pin)
        if not isinstance(version, int):
            return version
        run.version = version
        record, _, validator = self._version(run.task, version)
        return prepare(run, record.spec, validator)

    def _version(self, task: str, version: int) -> tuple[VersionRecord, bytes, Validator]:
        known = self._versions.get((task, version))
        if known is None:
            record, source = run_sync(read_version(self._keys, task, version), self._redis)
            known = self._versions[task, version] = record, source, Validator(record.spec.parameters)
        return known

    def _execute(self, run: Run) -> tuple[Verdict, BaseException | None]:
        fault = self.faults.take(run.task) or Fault("none")
        lost = verdicts.on_loss(run.losses, run.spec, "worker_lost", f"worker {NAME}")
        if fault.kind == "lost" and not fault.done:
            return lost, None
        record, source, _ = self._version(run.task, run.version)
        loaded = fault.on(self._code.get(record, source))
        run.began = clock.monotonic()
        self.attempts += 1
        known = self._settings
        loaded = replace(loaded, max_result=known.max_result, max_log=known.log_lines, max_log_bytes=known.log_bytes)
        order = Order(0, run.id, run.blob, run.attempt, run.timeout, run.queue, run.cause)
        executed = perform(order, loaded, self._time, late=fault.kind == "late")
        verdict = lost if fault.kind == "lost" else verdicts.on_report(run, executed.report)
        lines = executed.lines + (retry_lines(run, verdict, clock.now()) if isinstance(verdict, Release) else [])
        if lines:
            names, args = log_args({run.id: list(log_lines(lines))}, self._keys, self._settings)
            run_sync(_single(Call(load("log"), names, args)), self._redis)
        return verdict, executed.error

    def _settle(self, run: Run, verdict: Verdict) -> None:
        keys = self._keys
        if isinstance(verdict, Finish):
            items = [(run, verdict)]
            counts = count(items) if self._settings.stats else None
            args = [keys.rq, keys.prefix, NAME, *finish_args(items, self._settings, counts=counts)]
            call = Call(load("finish"), [keys.leases, keys.lease, keys.events], args)
        else:
            args = [keys.rq, keys.prefix, *release_args(run, verdict, self._settings, worker=NAME, now=clock.now())]
            names = [keys.leases, keys.lease, keys.parked_tasks, keys.events, keys.scheduler_runs, keys.scheduler_wake]
            call = Call(load("release"), names, args)
        words = run_sync(_single(call), self._redis)
        if words not in ([], [b"ok"], [b"done"]):
            raise TaskqError(f"the outcome of run {run.id} of {run.task} was refused: its lease had ended, or the run was taken away")


def _single(call: Call) -> Op[Any]:
    return (yield call)


def _longest(keys: Keys, passed: Collection[str]) -> Op[str | None]:
    """The queue whose head has waited longest, None if nothing waits."""
    prefix = keys.rq_queue("")
    names = [name.decode() for name in (yield Command("SMEMBERS", keys.rq_queues)) if name.decode().startswith(prefix)]
    heads = yield Pipeline([Command("LINDEX", name, 0) for name in names])
    waiting = [(name, head.decode()) for name, head in zip(names, heads, strict=True) if head is not None and head.decode() not in passed]
    since = yield Pipeline([Command("HGET", keys.rq_job(head), "enqueued_at") for _, head in waiting])
    ordered = sorted((at or b"", name) for at, (name, _) in zip(since, waiting, strict=True))
    return ordered[0][1].removeprefix(prefix) if ordered else None


def _put_ahead(keys: Keys, run: str) -> Op[str | None]:
    """Put a run that waits in a queue, or for its next attempt, at the head of its queue; returns the queue, None if it does neither."""
    origin, status, attempt = yield Command("HMGET", keys.rq_job(run), "origin", "status", "attempt")
    queue = keys.our_queue((origin or b"").decode())
    if from_rq((status or b"").decode(), int(attempt or 0)) == "retrying":
        there = [Command("ZREM", name, run) for name in (keys.scheduler_runs, keys.rq_registry("scheduled", queue))]
        yield Pipeline([*there, Command("HSET", keys.rq_job(run), "status", "queued")], atomic=True)
    elif not (yield Command("LREM", keys.rq_queue(queue), 1, run)):
        return None
    yield Command("LPUSH", keys.rq_queue(queue), run)
    return queue
