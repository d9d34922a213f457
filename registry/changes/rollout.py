"""Rolls versions out: staged, loaded by every worker that serves them, switched; or unstaged."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskq.registry import clock
from taskq.registry.backoff import pause
from taskq.registry.changes.commit import Committed, Decision, Reads, View, Write, commit
from taskq.registry.changes.desk import Desk
from taskq.registry.changes.failures import Outcome, remember
from taskq.registry.changes.fleet import Pair, live_workers, load_reports
from taskq.registry.changes.plan import in_progress
from taskq.registry.changes.transitions import staged, switched, unstaged
from taskq.registry.effects import Command, Op
from taskq.registry.errors import Conflict, RolloutFailed
from taskq.registry.keys import Keys
from taskq.registry.model.change import ChangeType
from taskq.registry.model.record import TaskRecord, VersionRecord
from taskq.registry.model.worker import WorkerReport
from taskq.registry.runtime.faults import point

# Workers get stage_timeout; so much more is ours to count their reports and to switch.
_MARGIN: Final = 15.0
# How long a writer waits for its turn where many roll out one task.
_TURN: Final = 120.0
_LOOK: Final = 0.05
# A rollout whose registrar was not heard of for so long (in ms) is abandoned: the next one takes the stage.
_HEARD_OF: Final = 5000
_INTERRUPTED: Final = {"worker": "registrar", "error": "the registration was interrupted"}


@dataclass(frozen=True)
class Target:
    """One task of a rollout: ``version`` is to become stable. ``record`` is the task as adopted, ``before`` as it was."""

    before: TaskRecord | None
    record: TaskRecord
    version: VersionRecord
    new: bool = False

    @property
    def pair(self) -> Pair:
        """(task, version)."""
        return self.record.task, self.version.version


@dataclass(frozen=True)
class Manner:
    """How a rollout is done.

    ``action`` is what the switch is called, ``withdraw`` whether the version left behind is marked as rolled back from,
    ``activate`` whether the route is switched at all, ``timeout`` how long the workers have, in seconds, ``max_unready`` how
    many of them may fail to be ready.
    """

    action: ChangeType
    timeout: float
    message: str = ""
    withdraw: bool = False
    activate: bool = True
    max_unready: int = 0


@dataclass(frozen=True)
class Result:
    """How a rollout ended: each task's record, at the revision of the last change."""

    revision: int
    records: dict[str, TaskRecord]
    targets: Sequence[Target]


class _TurnError(Exception):
    """Somebody else, the rollout ``by``, is rolling out one of the tasks."""

    def __init__(self, task: str, by: str) -> None:
        self.task, self.by = task, by
        super().__init__(task)


def roll_out(desk: Desk, reads: Reads, choose: Callable[[View], Sequence[Target]], manner: Manner) -> Result:
    """Bring the versions that ``choose`` names into effect.

    Args:
        desk: where and in whose name.
        reads: what ``choose`` needs. ``choose``: pure; the tasks that have to change.
        manner: how.

    Raises:
        RolloutFailed: workers could not load a version in time; nothing was switched, ``failures`` says why.
        Conflict: ``choose`` says so, or the task was rolled out by others all the time.
    """
    begun = clock.monotonic()
    workers: list[WorkerReport] = []
    chosen: list[Target] = []
    abandoned: set[str] = set()
    token = secrets.token_hex(8)

    def decide(view: View) -> Decision:
        chosen[:] = choose(view)
        for target in chosen:
            other = target.before.route.staged_by if target.before else ""
            if in_progress(target.before, view.at) and other not in abandoned:
                raise _TurnError(target.record.task, other)
        served = any(_served(worker, chosen) for worker in workers)
        if served or not manner.activate:
            turn = (view.at + manner.timeout + _MARGIN, token) if served else (None, "")
            return Decision("staged", [_write(target, staged(target.record, target.version.version, *turn), view) for target in chosen])
        return Decision(manner.action, [_write(target, _switch(target.record, target, manner), view) for target in chosen])

    while True:
        workers[:] = _ready_to_serve(desk)
        desk.perform(_be_heard(desk.keys, token))
        try:
            first = commit(desk, reads, decide, manner.message)
            break
        except _TurnError as busy:
            if not desk.perform(_heard(desk.keys, busy.by)):
                abandoned.add(busy.by)
            else:
                _wait_for_turn(desk, busy.task, begun)
    targets = tuple(chosen)
    if not any(write.after.route.staged_until for write in first.writes):
        _remember(desk, targets, first, "switched" if manner.activate else "staged", begun, [])
        return _result(first, targets)
    return _finish(desk, targets, first, manner, begun)


def _finish(desk: Desk, targets: Sequence[Target], first: Committed, manner: Manner, begun: float) -> Result:
    """What follows the staging: wait for the workers, then switch or take it back, whatever interrupts us."""
    failures: list[dict[str, str]] = []
    done = False
    point("registry.staged")
    try:
        failures = _wait(desk, targets, first, manner)
        if not failures:
            last = _switch_all(desk, targets, first, manner)
            done = True
    finally:
        if not done:
            last = _unstage(desk, targets, first, manner)
            _remember(desk, targets, last, "failed", begun, failures or [_INTERRUPTED])
    if failures:
        raise _failed(targets, failures, _result(last, targets))
    _remember(desk, targets, last, "switched", begun, [])
    return _result(last, targets)


def _be_heard(keys: Keys, token: str) -> Op[None]:
    yield Command("SET", keys.registrar(token), 1, "PX", _HEARD_OF)


def _heard(keys: Keys, token: str) -> Op[bool]:
    return bool((yield Command("EXISTS", keys.registrar(token))))


def _ready_to_serve(desk: Desk) -> list[WorkerReport]:
    # One that is starting reads the registry before it claims anything: there is nothing to wait for.
    return [worker for worker in desk.perform(live_workers(desk.keys, desk.settings)) if worker.state != "starting"]


def _write(target: Target, after: TaskRecord, view: View) -> Write:
    new = target.version.model_copy(update={"created_at": view.at}) if target.new else None
    return Write(target.before, after, target.version.version, target.version.digest, new)


def _switch(record: TaskRecord, target: Target, manner: Manner) -> TaskRecord:
    return switched(record, target.version.version, target.version.spec, withdraw=manner.withdraw)


def _wait_for_turn(desk: Desk, task: str, begun: float) -> None:
    waited = clock.monotonic() - begun
    if waited > _TURN:
        raise Conflict(f"task {task} was rolled out by others for {waited:.0f} s", hint="see `taskq audit`, and try again")
    desk.progress(f"waiting for another rollout of {task}")
    time.sleep(pause(2, base=0.05, cap=0.2))


# -- waiting for the workers -------------------------------------------------------------------------------
def _wait(desk: Desk, targets: Sequence[Target], first: Committed, manner: Manner) -> list[dict[str, str]]:
    """Until each worker is ready: an empty list; or who failed and why."""
    deadline = clock.monotonic() + manner.timeout
    revision, token = first.revision, first.writes[0].after.route.staged_by
    while True:
        desk.perform(_be_heard(desk.keys, token))
        failed, behind = _state(desk, targets, revision)
        if len(failed) > manner.max_unready:
            return failed
        if len(failed) + len(behind) <= manner.max_unready or not (failed or behind):
            return []
        if clock.monotonic() > deadline:
            return failed + [_late(worker, manner, revision) for worker in behind]
        desk.progress(f"waiting for {', '.join(worker.worker for worker in behind)}")
        time.sleep(_LOOK)


def _state(desk: Desk, targets: Sequence[Target], revision: int) -> tuple[list[dict[str, str]], list[WorkerReport]]:
    """Failures of the workers that serve one of the tasks, and those that are not ready yet."""
    workers = {worker: _served(worker, targets) for worker in _ready_to_serve(desk)}
    pairs = sorted({pair for needed in workers.values() for pair in needed})
    reports = desk.perform(load_reports(desk.keys, [worker.worker for worker in workers], pairs))
    failed, behind = [], []
    for worker, needed in workers.items():
        known = reports[worker.worker]
        errors = [known[pair].error or "failed" for pair in needed if pair in known and known[pair].state == "failed"]
        # What a worker reports counts once it has applied our change: the report may be of an earlier attempt.
        if worker.revision < revision:
            behind.append(worker)
        elif errors:
            failed.append({"worker": worker.worker, "error": "\n".join(errors)})
        elif any(pair not in known for pair in needed):
            behind.append(worker)
    return failed, behind


def _served(worker: WorkerReport, targets: Sequence[Target]) -> frozenset[Pair]:
    return frozenset(target.pair for target in targets if _queues(target) & set(worker.queues))


def _queues(target: Target) -> set[str]:
    # A version may move its task to another queue: runs that wait in the old one get it as well.
    earlier = {target.before.spec.queue} if target.before is not None and target.before.route.stable is not None else set()
    return {target.version.spec.queue} | earlier


def _late(worker: WorkerReport, manner: Manner, revision: int) -> dict[str, str]:
    error = f"not ready within {manner.timeout:g} s (it is {worker.state}, at revision {worker.revision} of {revision})"
    return {"worker": worker.worker, "error": error}


# -- the second change -------------------------------------------------------------------------------------
def _switch_all(desk: Desk, targets: Sequence[Target], first: Committed, manner: Manner) -> Committed:
    def decide(view: View) -> Decision:
        writes = []
        for target in targets:
            record = _still_ours(view, target, first)
            if record is None:
                raise Conflict(f"task {target.record.task}: version {target.version.version} was taken off the stage by another change")
            after = _switch(record, target, manner) if manner.activate else staged(record, target.version.version, None)
            writes.append(Write(record, after, target.version.version, target.version.digest))
        return Decision(manner.action if manner.activate else "staged", writes)

    return commit(desk, Reads([target.record.task for target in targets]), decide, manner.message)


def _still_ours(view: View, target: Target, first: Committed) -> TaskRecord | None:
    """The record, if the stage holds what ``first`` put there; another registrar may have put the same version there since."""
    record = view.records.get(target.record.task)
    ours = next(write.after.route for write in first.writes if write.after.task == target.record.task)
    same = record is not None and (record.route.staged, record.route.staged_by) == (ours.staged, ours.staged_by)
    return record if same else None


def _unstage(desk: Desk, targets: Sequence[Target], first: Committed, manner: Manner) -> Committed:
    def decide(view: View) -> Decision:
        writes = []
        for target in targets:
            record = _still_ours(view, target, first)
            if record is not None:
                writes.append(Write(record, unstaged(record, target.before), target.version.version, target.version.digest))
        return Decision("unstaged", writes)

    return commit(desk, Reads([target.record.task for target in targets]), decide, manner.message)


# -- what came of it ---------------------------------------------------------------------------------------
def _result(last: Committed, targets: Sequence[Target]) -> Result:
    return Result(last.revision, {write.after.task: write.after for write in last.writes}, targets)


def _remember(desk: Desk, targets: Sequence[Target], last: Committed, state: str, begun: float, errors: list[dict[str, str]]) -> None:
    seconds = clock.monotonic() - begun
    outcomes = {
        target.record.task: Outcome(
            at=last.at, version=target.version.version, revision=last.revision, state=state, seconds=seconds, errors=errors
        )
        for target in targets
    }
    desk.perform(remember(desk.keys, outcomes))


def _failed(targets: Sequence[Target], failures: list[dict[str, str]], result: Result) -> RolloutFailed:
    what = ", ".join(f"{target.record.task} {target.version.version}" for target in targets[:5]) + (" …" if len(targets) > 5 else "")
    names = ", ".join(failure["worker"] for failure in failures)
    documents: list[dict[str, Any]] = [
        {
            "task": target.record.task,
            "version": target.version.version,
            "digest": target.version.digest,
            "revision": result.revision,
            "state": "failed",
            "errors": failures,
        }
        for target in targets
    ]
    return RolloutFailed(
        f"{what}: not switched, as {len(failures)} workers are not ready: {names}",
        hint=f"the stable version goes on; repair the cause, or `taskq drain {failures[0]['worker']}`, or allow --max-unready N",
        failures=failures,
        documents=documents,
    )
