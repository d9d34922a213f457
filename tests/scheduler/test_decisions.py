"""What becomes of slots: cases by hand, and any course of events against a simple oracle."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskq.producer.scheduler.decisions import Rules, Standing, Step, decide
from taskq.registry.model.scheduler import ScheduleState
from taskq.registry.schedules.schedule import Schedule
from taskq.registry.schedules.slots import run_id

SECOND = Schedule("every 1s", "every", None)
ONCE = Schedule("at 1970-01-01T00:00:10+00:00", "at", None)


def rules(**given: Any) -> Rules:
    return Rules(**{"task": "t", "schedule": SECOND, "grace": 3_000} | given)


def fired(steps: list[Step]) -> list[int]:
    return [step.fires for step in steps if step.fires is not None]


def test_a_slot_that_is_not_due_yet_is_left() -> None:
    assert decide(rules(), Standing(10_000, ScheduleState()), 9_999) == []


def test_a_due_slot_fires_and_leads_to_the_next_one() -> None:
    before = Standing(10_000, ScheduleState())
    (step,) = decide(rules(), before, 10_000)
    run = run_id("t", "every 1s", 10_000)
    assert step == Step(before, 10_000, Standing(11_000, ScheduleState(last=10_000, run=run)), 10_000, run)


def test_slots_within_the_grace_fire_each_in_order() -> None:
    assert fired(decide(rules(), Standing(10_000, ScheduleState()), 13_000)) == [10_000, 11_000, 12_000, 13_000]


@pytest.mark.parametrize(
    ("misfire", "slots", "misfires"),
    [
        ("once", [14_000, 15_000, 16_000, 17_000, 18_000], 4),
        ("skip", [15_000, 16_000, 17_000, 18_000], 5),
        ("all", range(10_000, 18_001, 1_000), 0),
    ],
)
def test_later_ones_follow_the_misfire_policy(misfire: str, slots: list[int], misfires: int) -> None:
    steps = decide(rules(misfire=misfire), Standing(10_000, ScheduleState()), 18_000)
    assert fired(steps) == list(slots)
    assert steps[-1].after.state.misfires == misfires
    assert steps[-1].after.due == 19_000


def test_a_long_backlog_is_worked_off_piece_by_piece() -> None:
    standing, slots = Standing(10_000, ScheduleState()), []
    while steps := decide(rules(misfire="all"), standing, 60_000, most=7):
        assert len(steps) <= 7
        slots += fired(steps)
        standing = steps[-1].after
    assert slots == list(range(10_000, 60_001, 1_000))


def test_a_week_of_missed_slots_is_one_step() -> None:
    week = 7 * 86_400_000
    steps = decide(rules(), Standing(10_000, ScheduleState()), 10_000 + week)
    assert steps[0].fires == 10_000 + week - 4_000
    assert steps[0].after.state.misfires == week // 1_000 - 4
    assert len(steps) == 5


def test_a_pause_holds_the_newest_slot_and_a_resume_fires_it() -> None:
    (first,) = decide(rules(paused=True), Standing(10_000, ScheduleState()), 12_500)
    assert (first.fires, first.after.state.held, first.after.state.misfires, first.after.due) == (None, 12_000, 2, 13_000)
    (second,) = decide(rules(paused=True), first.after, 13_000)
    assert (second.fires, second.after.state.held, second.after.state.misfires) == (None, 13_000, 3)
    assert decide(rules(paused=True), second.after, 13_500) == []
    (released,) = decide(rules(), second.after, 13_500)
    assert (released.fires, released.newest, released.after.due) == (13_000, 13_000, 14_000)
    assert (released.after.state.held, released.after.state.misfires, released.after.state.last) == (None, 3, 13_000)


def test_a_pause_drops_slots_where_misfires_are_skipped_and_makes_runs_where_all_are_wanted() -> None:
    (dropped,) = decide(rules(paused=True, misfire="skip"), Standing(10_000, ScheduleState()), 12_000)
    assert (dropped.fires, dropped.after.state.misfires, dropped.after.due) == (None, 3, 13_000)
    assert fired(decide(rules(paused=True, misfire="all"), Standing(10_000, ScheduleState()), 12_000)) == [10_000, 11_000, 12_000]


def test_a_held_slot_is_dropped_where_the_policy_has_become_to_skip() -> None:
    (step,) = decide(rules(misfire="skip"), Standing(13_000, ScheduleState(held=12_000)), 12_500)
    assert (step.fires, step.after.state.held, step.after.state.misfires) == (None, None, 1)


def test_runs_that_must_not_overlap_are_counted_instead() -> None:
    no_overlap = rules(overlap="skip")
    steps = decide(no_overlap, Standing(10_000, ScheduleState()), 12_000)
    assert fired(steps) == [10_000]
    assert steps[-1].after.state.misfires == 2
    (busy,) = decide(no_overlap, Standing(10_000, ScheduleState(run="r")), 12_000, busy=True)
    assert (busy.fires, busy.after.state.misfires, busy.after.state.run, busy.after.due) == (None, 3, "r", 13_000)


def test_a_moment_fires_once_and_leaves_no_slot() -> None:
    once = rules(schedule=ONCE)
    (step,) = decide(once, Standing(10_000, ScheduleState()), 10_500)
    assert (step.fires, step.after.due) == (10_000, None)
    assert decide(once, step.after, 99_000) == []
    (held,) = decide(rules(schedule=ONCE, paused=True), Standing(10_000, ScheduleState()), 10_500)
    (released,) = decide(once, held.after, 99_000)
    assert (released.fires, released.after) == (10_000, Standing(None, ScheduleState(last=10_000, run=released.run)))


def test_a_due_slot_that_the_schedule_does_not_know_any_more_is_settled() -> None:
    # The rules of a time zone were changed after it had been written down.
    odd = Standing(10_500, ScheduleState())
    assert fired(decide(rules(), odd, 10_600)) == [10_500]
    (held,) = decide(rules(paused=True), odd, 10_600)
    assert (held.after.state.held, held.after.due) == (10_500, 11_000)


class Oracle:
    """The same, slot by slot, from the list of all slots since the beginning."""

    def __init__(self, misfire: str, overlap: str, grace: int, due: int, period: int) -> None:
        self.misfire, self.overlap, self.grace, self.period = misfire, overlap, grace, period
        self.due, self.held = due, None
        self.fired: list[int] = []
        self.misfires = 0

    def tick(self, now: int, *, paused: bool, busy: bool) -> None:
        self.busy = busy
        if self.held is not None and not paused:
            held, self.held = self.held, None
            self._give(held, run=self.misfire != "skip")
        slots = list(range(self.due, now + 1, self.period))
        late = [slot for slot in slots if now - slot > self.grace]
        for slot in slots:
            if paused and self.misfire == "once":
                self.misfires += self.held is not None
                self.held = slot
            elif paused:
                self._give(slot, run=self.misfire == "all")
            elif slot in late:
                self._give(slot, run=self.misfire == "all" or (self.misfire == "once" and slot == late[-1]))
            else:
                self._give(slot, run=True)
            self.due = slot + self.period

    def _give(self, slot: int, *, run: bool) -> None:
        if run and not self.busy:
            self.fired.append(slot)
            self.busy = self.overlap == "skip"
        else:
            self.misfires += 1


class Courses(RuleBasedStateMachine):
    """Time passes, the task is paused and resumed, its run ends, a scheduler looks now and then."""

    @initialize(
        misfire=st.sampled_from(["once", "skip", "all"]),
        overlap=st.sampled_from(["allow", "skip"]),
        grace=st.sampled_from([0, 1_500, 5_000]),
        period=st.sampled_from([1, 2, 7]),
    )
    def begin(self, misfire: str, overlap: str, grace: int, period: int) -> None:
        self.now, self.paused, self.busy = 1_000_000, False, False
        schedule = Schedule(f"every {period}s", "every", None)
        self.rules = rules(schedule=schedule, misfire=misfire, overlap=overlap, grace=grace)
        first = schedule.next_after(self.now)
        assert first is not None
        self.standing = Standing(first, ScheduleState())
        self.oracle = Oracle(misfire, overlap, grace, first, period * 1000)
        self.fired: list[int] = []

    @rule(ms=st.integers(1, 20_000))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule()
    def pause_or_resume(self) -> None:
        self.paused = not self.paused

    @precondition(lambda self: self.busy)
    @rule()
    def the_run_ends(self) -> None:
        self.busy = False

    @rule(most=st.integers(1, 5))
    def a_scheduler_looks(self, most: int) -> None:
        now = Rules(
            self.rules.task, self.rules.schedule, self.rules.misfire, self.rules.overlap, paused=self.paused, grace=self.rules.grace
        )
        self.oracle.tick(self.now, paused=self.paused, busy=self.busy)
        while steps := decide(now, self.standing, self.now, busy=self.busy, most=most):
            for step in steps:
                assert step.before == self.standing
                assert step.newest <= self.now
                self.standing = step.after
            self.fired += fired(steps)
            self.busy = self.busy or (self.rules.overlap == "skip" and bool(fired(steps)))

    @invariant()
    def each_slot_has_one_end(self) -> None:
        if not hasattr(self, "oracle"):
            return
        assert self.fired == self.oracle.fired
        assert self.standing.state.misfires == self.oracle.misfires
        assert self.standing.state.held == self.oracle.held
        assert self.standing.due == self.oracle.due
        assert self.standing.state.last == (self.fired[-1] if self.fired else None)


TestCourses = Courses.TestCase
TestCourses.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
