"""What schedules a spec has, what they are called, and the slots of `every` and `at`."""

from __future__ import annotations

import timeit
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.registry import names
from taskq.registry.authoring.duration import seconds
from taskq.registry.errors import InvalidInput
from taskq.registry.model.spec import Spec
from taskq.registry.schedules.schedule import Schedule, member, period_text, schedules_of
from taskq.registry.schedules.slots import cause, run_id

MOMENTS = st.integers(-(10**12), 10**13)
PERIODS = st.integers(100, 366 * 86_400_000)


def every(period: int) -> Schedule:
    return Schedule(f"every {period_text(period)}", "every", None)


def test_each_of_every_cron_and_at_is_a_schedule() -> None:
    spec = Spec(every=90.0, cron="0 6 * * 1-5", timezone="Europe/Berlin", at="2026-12-01T09:00:00+01:00")
    assert schedules_of(spec) == (
        Schedule("every 1m30s", "every", None),
        Schedule("cron 0 6 * * 1-5 Europe/Berlin", "cron", "Europe/Berlin"),
        Schedule("at 2026-12-01T09:00:00+01:00", "at", "Europe/Berlin"),
    )
    assert schedules_of(Spec()) == ()


def test_utc_is_not_named() -> None:
    assert schedules_of(Spec(cron="@hourly")) == (Schedule("cron @hourly", "cron", "UTC"),)
    assert schedules_of(Spec(at="2026-12-01T09:00:00+01:00")) == (Schedule("at 2026-12-01T09:00:00+01:00", "at", None),)


@pytest.mark.parametrize(
    ("period", "text"),
    [(100, "100ms"), (1000, "1s"), (1500, "1.5s"), (90_000, "1m30s"), (3_600_000, "1h"), (86_400_000, "1d"), (90_061_001, "1d1h1m1.001s")],
)
def test_periods_read_as_people_write_them(period: int, text: str) -> None:
    assert period_text(period) == text


@given(PERIODS)
def test_the_text_of_a_period_says_it_exactly(period: int) -> None:
    assert round(seconds(period_text(period)) * 1000) == period


@given(PERIODS, MOMENTS, st.integers(0, 10**11))
def test_slots_of_a_period_are_its_multiples(period: int, begin: int, length: int) -> None:
    schedule = every(period)
    slot = schedule.next_after(begin)
    assert slot is not None
    assert begin < slot <= begin + period
    assert slot % period == 0
    assert schedule.next_after(slot) == slot + period
    end = begin + length
    expected = range(slot, end + 1, period)
    assert schedule.count_between(begin, end) == len(expected)
    assert schedule.newest_between(begin, end) == (expected[-1] if expected else None)


@given(st.integers(0, 4 * 10**12), MOMENTS, MOMENTS)
def test_a_moment_is_one_slot(at: int, begin: int, end: int) -> None:
    text = cause("", at).removeprefix("@")
    schedule = Schedule(f"at {text}", "at", None)
    assert schedule.next_after(begin) == (at if at > begin else None)
    within = begin < at <= end
    assert schedule.newest_between(begin, end) == (at if within else None)
    assert schedule.count_between(begin, end) == int(within)


def test_an_interval_that_ends_before_it_begins_holds_nothing() -> None:
    for schedule in (every(1000), Schedule("cron * * * * *", "cron", "UTC")):
        assert schedule.count_between(10_000_000, 0) == 0
        assert schedule.newest_between(10_000_000, 0) is None


def test_the_next_slot_of_a_period_takes_no_time() -> None:
    schedule = every(1000)
    assert min(timeit.repeat(partial(schedule.next_after, 1_795_381_200_123), number=1, repeat=50)) < 1e-4


def test_a_zone_that_this_machine_does_not_know_is_named() -> None:
    with pytest.raises(InvalidInput, match="Mars/Base"):
        Schedule("cron 0 6 * * * Mars/Base", "cron", "Mars/Base").next_after(0)


@pytest.mark.parametrize("spec", [Spec(every=0.0), Spec(at="next week"), Spec(cron="* * * * * * *")])
def test_a_schedule_that_another_release_wrote_is_named(spec: Spec) -> None:
    (schedule,) = schedules_of(spec)
    for ask in (partial(schedule.next_after, 0), partial(schedule.newest_between, 0, 1), partial(schedule.count_between, 0, 1)):
        with pytest.raises(InvalidInput, match=f"{schedule.kind} "):
            ask()


def test_a_slot_has_one_run_wherever_it_is_computed() -> None:
    assert run_id("job", "every 1s", 1_795_381_200_000) == "048cb40ab4ef6a3098b490350840ae42"
    assert names.check("run", run_id("job", "every 1s", 1_795_381_200_000))
    others = {run_id("job", "every 1s", 0), run_id("job", "every 1s", 1000), run_id("job", "every 2s", 0), run_id("jobs", "every 1s", 0)}
    assert len(others) == 4


def test_the_cause_of_a_run_tells_schedule_and_slot() -> None:
    assert cause("every 30s", 1_795_381_200_001) == "every 30s@2026-11-22T21:00:00.001+00:00"


def test_a_member_tells_task_and_schedule() -> None:
    assert member("orders.sync", every(30_000)) == "orders.sync|every 30s"
