"""What `taskq schedules` shows: the registry's schedules, and what has become of their slots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypedDict

from taskq.registry import clock
from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import FormatUnknown, InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.model.record import TaskRecord, readable_records
from taskq.registry.model.scheduler import ScheduleState
from taskq.registry.schedules.schedule import Schedule, member, schedules_of


class ScheduleRow(TypedDict):
    """One schedule of a task; times are ISO 8601, None where there is none. ``next``: of a paused task its slots do not fire."""

    task: str
    schedule: str
    timezone: str | None
    next: str | None
    last: str | None
    misfires: int
    paused: bool


def read_schedules(keys: Keys, *, fired: bool) -> Op[list[ScheduleRow]]:
    """The schedules of all tasks that are neither retired nor of another release, by task.

    Args:
        keys: of the namespace.
        fired: whether a scheduler is alive: then ``next`` is the slot that it waits for, else the next one by the registry.
    """
    (seconds, micros), blobs = yield Pipeline([Command("TIME"), Command("HVALS", keys.registry)])
    now = int(seconds) * 1000 + int(micros) // 1000
    records = sorted((record for record in readable_records(blobs) if record.route.stable is not None), key=lambda record: record.task)
    found = [(record, schedule) for record in records for schedule in schedules_of(record.spec)]
    if not found:
        return []
    names = [member(record.task, schedule) for record, schedule in found]
    scores, states = yield Pipeline([Command("ZMSCORE", keys.scheduler_due, *names), Command("HMGET", keys.scheduler_state, *names)])
    return [
        _row(record, schedule, _next(schedule, now, score if fired else None), _state(blob))
        for (record, schedule), score, blob in zip(found, scores, states, strict=True)
    ]


def spent_schedules(keys: Keys, tasks: Sequence[str]) -> Op[list[tuple[str, str]]]:
    """Task and text of each schedule of these tasks that has no slot any more: an ``at`` that has passed."""
    if not tasks:
        return []
    (seconds, micros), blobs = yield Pipeline([Command("TIME"), Command("HMGET", keys.registry, *tasks)])
    now = int(seconds) * 1000 + int(micros) // 1000
    records = readable_records(blob for blob in blobs if blob is not None)
    found = [(record.task, schedule) for record in records for schedule in schedules_of(record.spec)]
    return [(task, schedule.text) for task, schedule in found if schedule.kind == "at" and _next(schedule, now, None) is None]


def _next(schedule: Schedule, now: int, due: Any) -> int | None:
    """The slot that it waits for: as Redis has it, else by the schedule itself."""
    if due is not None:
        return None if math.isinf(due) else int(due)
    try:
        return schedule.next_after(now)
    except InvalidInput:  # a zone that this machine does not know
        return None


def _state(blob: bytes | None) -> ScheduleState:
    try:
        return ScheduleState.load(blob) if blob else ScheduleState()
    except FormatUnknown:
        return ScheduleState()


def _row(record: TaskRecord, schedule: Schedule, following: int | None, state: ScheduleState) -> ScheduleRow:
    return {
        "task": record.task,
        "schedule": schedule.text,
        "timezone": schedule.timezone,
        "next": _iso(following),
        "last": _iso(state.last),
        "misfires": state.misfires,
        "paused": record.state == "paused",
    }


def _iso(slot: int | None) -> str | None:
    return None if slot is None else clock.iso(slot / 1000)
