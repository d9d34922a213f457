"""Changes of a task's route and state: promote, roll back, pause, resume, retire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from taskq.registry import scripts
from taskq.registry.changes.commit import Committed, Decision, Reads, View, Write, commit
from taskq.registry.changes.desk import Desk
from taskq.registry.changes.plan import Demands, check_demands
from taskq.registry.changes.reading import read_record, read_version, stable_before
from taskq.registry.changes.rollout import Manner, Target, roll_out
from taskq.registry.changes.transitions import paused, resumed, retired
from taskq.registry.effects import Call, Command, Op, Pipeline
from taskq.registry.errors import Conflict, NotFound, TaskRetired
from taskq.registry.model.change import ChangeType
from taskq.registry.model.record import TaskRecord
from taskq.registry.runs.cancellation import cancel_run
from taskq.registry.runs.later import scheduled_runs

_PAGE: Final = 500


def promote(desk: Desk, task: str, version: int, manner: Manner) -> list[dict[str, Any]]:
    """Route ``task`` to ``version``, once the workers have it; the document of the task.

    Raises:
        NotFound: there is no such task or version. TaskRetired: the task is retired.
        Conflict, RolloutFailed: see `roll_out`.
    """
    target = desk.perform(read_version(desk.keys, task, version))

    def choose(view: View) -> list[Target]:
        record = _usable(view, task)
        if record.route.stable == version:
            return []
        return [Target(record, record, target)]

    result = roll_out(desk, Reads([task], digests=[target.digest]), choose, manner)
    record = result.records.get(task)
    state = "unchanged" if record is None else record.state
    revision = result.revision if record is not None else desk.perform(read_record(desk.keys, task)).revision
    return [{"task": task, "version": version, "digest": target.digest, "revision": revision, "state": state}]


def roll_back(desk: Desk, task: str, version: int | None, manner: Manner) -> list[dict[str, Any]]:
    """Route ``task`` to an earlier version and mark the one that it leaves as withdrawn.

    Args:
        version: the one to go back to; the stable version before the current one if None.

    Raises:
        NotFound: there is no such version, or none to go back to.
        Conflict: ``version`` is the stable one.
    """
    record = desk.perform(read_record(desk.keys, task))
    if version is None:
        version = desk.perform(stable_before(desk.keys, record))
    if version is None:
        raise NotFound(f"task {task} has no earlier version to go back to", hint="see `taskq history`")
    if version == record.route.stable:
        raise Conflict(f"task {task} is on version {version} already")
    return promote(desk, task, version, manner)


def pause(desk: Desk, task: str, message: str, if_revision: int | None) -> list[dict[str, Any]]:
    """Have nothing of ``task`` start; runs are accepted and wait."""
    return _set_state(desk, task, "paused", paused, Demands(if_revision=if_revision), message)


def resume(desk: Desk, task: str, message: str, if_revision: int | None) -> list[dict[str, Any]]:
    """Have runs of a paused task start again, those that were put aside first."""
    documents = _set_state(desk, task, "resumed", resumed, Demands(if_revision=if_revision), message)
    desk.perform(_unpark(desk, task))
    return documents


def retire(desk: Desk, task: str, message: str, if_revision: int | None) -> list[dict[str, Any]]:
    """Refuse runs of ``task`` from now on and cancel those that wait."""
    documents = _set_state(desk, task, "retired", retired, Demands(if_revision=if_revision), message)
    _cancel_waiting(desk, task)
    return documents


# -- one change of a state ---------------------------------------------------------------------------------
_STATES: Final[dict[ChangeType, str]] = {"paused": "paused", "resumed": "active", "retired": "retired"}


def _set_state(
    desk: Desk, task: str, action: ChangeType, change: Callable[[TaskRecord], TaskRecord], demands: Demands, message: str
) -> list[dict[str, Any]]:
    seen: list[TaskRecord] = []

    def decide(view: View) -> Decision:
        record = view.records.get(task) if action == "retired" else _usable(view, task)
        if record is None:
            raise NotFound(f"there is no task {task}")
        check_demands(task, record, demands, view.revision)
        seen[:] = [record]
        if record.state == _STATES[action]:
            return Decision(action)
        return Decision(action, [Write(record, change(record), record.route.stable)])

    done = commit(desk, Reads([task]), decide, message)
    return [_document(desk, done, seen[0])]


def _usable(view: View, task: str) -> TaskRecord:
    record = view.records.get(task)
    if record is None:
        raise NotFound(f"there is no task {task}", hint="see `taskq list`")
    if record.state == "retired":
        raise TaskRetired(f"task {task} is retired", hint="register it again to use it")
    return record


def _document(desk: Desk, done: Committed, before: TaskRecord) -> dict[str, Any]:
    record = done.writes[0].after if done.writes else before
    version = record.route.stable
    digest = desk.perform(read_version(desk.keys, record.task, version)).digest if version is not None else None
    state = record.state if done.writes else "unchanged"
    return {"task": record.task, "version": version, "digest": digest, "revision": record.revision, "state": state}


# -- runs that wait ----------------------------------------------------------------------------------------
def _unpark(desk: Desk, task: str) -> Op[None]:
    keys = desk.keys
    script = scripts.load("unpark")
    while (yield Call(script, [keys.parked(task), keys.parked_tasks], [keys.rq, task, _PAGE])):
        pass


def _cancel_waiting(desk: Desk, task: str) -> None:
    """After the task is retired no run of it is created any more: what is listed now is all.

    Those that are due later come first: one that is moved to its queue meanwhile is then found there.
    """
    _cancel(desk, desk.perform(scheduled_runs(desk.keys, task)))
    start = 0
    while runs := desk.perform(_page(desk, task, start)):
        start += _PAGE
        _cancel(desk, [run for run, waits in runs if waits])


def _cancel(desk: Desk, runs: Iterable[str]) -> None:
    for run in runs:
        try:
            desk.perform(cancel_run(desk.keys, desk.settings, run))
        except (Conflict, NotFound):
            continue  # a worker was faster: it finds the task retired and ends the run itself


def _page(desk: Desk, task: str, start: int) -> Op[list[tuple[str, bool]]]:
    names = [name.decode() for name in (yield Command("ZRANGE", desk.keys.runs_of(task), start, start + _PAGE - 1))]
    states = (yield Pipeline([Command("HGET", desk.keys.rq_job(name), "status") for name in names])) if names else []
    return [(name, state == b"queued") for name, state in zip(names, states, strict=True)]
