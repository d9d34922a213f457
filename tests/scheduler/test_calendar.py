"""Which schedules the registry asks for."""

from __future__ import annotations

from typing import Any

from taskq.producer.scheduler.calendar import Calendar, Difference
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.model.record import Route, TaskRecord
from taskq.registry.model.spec import Spec


def calendar(*records: TaskRecord) -> Calendar:
    snapshot = Snapshot()
    snapshot.apply([1, "full", *(value for record in records for value in (record.task, record.dump()))])
    return Calendar(snapshot, grace=30.0)


def record(task: str, *, stable: int | None = 1, state: Any = "active", changed_at: float = 0.0, **spec: Any) -> TaskRecord:
    return TaskRecord(task=task, state=state, route=Route(stable=stable), changed_at=changed_at, spec=Spec.model_validate(spec))


def test_each_of_every_cron_and_at_is_a_schedule_with_the_rules_of_its_task() -> None:
    found = calendar(record("t", every=5.0, cron="0 6 * * *", timezone="Europe/Berlin", at="2030-01-01T00:00:00+01:00", misfire="all")).of(
        "t"
    )
    assert set(found) == {"t|every 5s", "t|cron 0 6 * * * Europe/Berlin", "t|at 2030-01-01T00:00:00+01:00"}
    rules = found["t|every 5s"].rules
    assert (rules.misfire, rules.overlap, rules.paused, rules.grace) == ("all", "allow", False, 30_000)


def test_tasks_that_are_retired_or_not_switched_to_a_version_yet_have_none() -> None:
    view = calendar(record("retired", state="retired", every=5.0), record("staged", stable=None, every=5.0))
    assert (view.of("retired"), view.of("staged"), view.of("unknown")) == ({}, {}, {})


def test_a_paused_task_keeps_its_schedules() -> None:
    entry = calendar(record("t", state="paused", every=5.0)).find("t|every 5s")
    assert entry is not None
    assert entry.rules.paused


def test_a_new_schedule_begins_behind_the_change_that_brought_it() -> None:
    entry = calendar(record("t", every=10.0, changed_at=1_000_000.5)).find("t|every 10s")
    assert entry is not None
    assert entry.first_slot(now=9_999_999_999) == 1_000_010_000
    unknown = calendar(record("t", every=10.0)).find("t|every 10s")
    assert unknown is not None
    assert unknown.first_slot(now=5_000_001) == 5_010_000, "a record that does not say when it was changed"


def test_it_follows_the_snapshot() -> None:
    view = calendar(record("t", every=5.0))
    assert view.find("t|every 5s") is not None
    view.snapshot.apply([2, "delta", "t", record("t", every=6.0).dump()])
    assert view.find("t|every 5s") is None
    assert view.find("t|every 6s") is not None
    view.snapshot.apply([3, "delta", "t", None])
    assert view.of("t") == {}


def test_what_differs_is_added_and_removed_and_what_cannot_be_read_is_left() -> None:
    view = calendar(record("new", every=5.0), record("kept", every=5.0), record("changed", every=6.0))
    view.snapshot.apply([2, "delta", "foreign", b"\xc1\x63other"])
    there = {"kept|every 5s", "changed|every 5s", "gone|every 5s", "foreign|every 5s"}
    difference = view.difference(there, ["new", "kept", "changed", "gone", "foreign"])
    assert {entry.name for entry in difference.added} == {"new|every 5s", "changed|every 6s"}
    assert set(difference.removed) == {"changed|every 5s", "gone|every 5s"}
    assert view.difference({"kept|every 5s"}, ["kept"]) == Difference()
