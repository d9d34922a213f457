"""Slots of cron expressions, checked against a clock that is read each minute."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from zoneinfo import available_timezones

import pytest
from croniter import croniter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schedules.oracle import ZONES, Named, expressions, moments, slots
from taskq.registry.schedules.schedule import Schedule

WINDOW = timedelta(days=2)
LOOK = 41 * 60_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def cron(text: str, zone: str = "UTC") -> Schedule:
    return Schedule(f"cron {text} {zone}".removesuffix(" UTC"), "cron", zone)


def walk(schedule: Schedule, begin: int, end: int) -> list[int]:
    """All slots in ``(begin, end]``."""
    found = []
    while (slot := schedule.next_after(begin)) is not None and slot <= end:
        assert slot > begin
        found.append(slot)
        begin = slot
    return found


def check(named: Named, zone: str, begin: datetime, offset: int) -> None:
    """Every slot in the window that follows ``begin`` is there, none else is, and looks into it from all over find the same ones."""
    schedule, end = cron(named.text, zone), begin + WINDOW
    expected = [ms(slot) for slot in slots(named, zone, begin, end)]
    assert walk(schedule, ms(begin), ms(end)) == expected
    for moment in range(ms(begin) + offset, ms(end), LOOK):
        before = [slot for slot in expected if slot <= moment]
        assert schedule.next_after(moment) == next(iter(expected[len(before) :]), schedule.next_after(ms(end)))
        assert schedule.newest_between(ms(begin), moment) == (before[-1] if before else None)
        assert schedule.count_between(ms(begin), moment) == len(before)
        assert schedule.count_between(moment, ms(end)) == len(expected) - len(before)


offsets = st.integers(0, LOOK) | st.just(0)


@pytest.mark.parametrize("zone", ZONES)
@settings(slow, max_examples=40)
@given(data=st.data(), named=expressions())
def test_slots_are_what_a_clock_on_the_wall_says(zone: str, data: st.DataObject, named: Named) -> None:
    check(named, zone, data.draw(moments(zone)), data.draw(offsets))


@settings(slow, max_examples=60)
@given(data=st.data(), zone=st.sampled_from(sorted(available_timezones())), named=expressions())
def test_slots_are_right_in_any_zone(data: st.DataObject, zone: str, named: Named) -> None:
    check(named, zone, data.draw(moments(zone)), data.draw(offsets))


@settings(slow, max_examples=60)
@given(data=st.data(), zone=st.sampled_from(ZONES), named=expressions())
def test_a_year_is_counted_as_it_is_walked(data: st.DataObject, zone: str, named: Named) -> None:
    begin = ms(data.draw(moments(zone)))
    coarse = cron(" ".join(["17", *named.text.split()[1:]]), zone)
    end = begin + 366 * 86_400_000
    found = walk(coarse, begin, end)
    assert coarse.count_between(begin, end) == len(found)
    assert coarse.newest_between(begin, end) == (found[-1] if found else None)


SPECIAL = "0 12 L * *|0 12 * * 1#2|0 12 * * L5|0 12 15W * *|0 12 1W * *|0 12 31W * *|30 6 * * 1#1,5#3|0 12 L 2 *|0 0 29 2 *".split("|")
texts = st.sampled_from(SPECIAL) | expressions().map(lambda named: named.text)


@settings(slow, max_examples=60)
@given(text=texts, begin=st.datetimes(datetime(1970, 1, 1), datetime(2090, 1, 1)))  # noqa: DTZ001  # hypothesis takes naive limits
def test_in_utc_slots_are_those_of_croniter(text: str, begin: datetime) -> None:
    schedule, reader = cron(text), croniter(text, begin)
    moment = ms(begin.replace(tzinfo=UTC))
    for _ in range(5):
        expected = ms(reader.get_next(datetime).replace(tzinfo=UTC))
        assert schedule.next_after(moment) == expected
        moment = expected


def utc(*texts: str) -> list[int]:
    return [ms(datetime.fromisoformat(f"{text}+00:00")) for text in texts]


@pytest.mark.parametrize(
    ("text", "zone", "begin", "expected"),
    [
        # Berlin's clocks go from 2 to 3 at 01:00 UTC …
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        ("30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-29T01:30", "2026-03-30T00:30"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:00"]),
        ("30 * * * *", "Europe/Berlin", "2026-03-29T00:00", ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30"]),
        (
            "0 */2 * * *",
            "Europe/Berlin",
            "2026-03-28T22:30",
            ["2026-03-28T23:00", "2026-03-29T01:00", "2026-03-29T02:00"],
        ),
        # … and from 3 to 2 at 01:00 UTC.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30", ["2026-10-26T01:30"]),
        ("30 * * * *", "Europe/Berlin", "2026-10-25T00:00", ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]),
        ("0 */2 * * *", "Europe/Berlin", "2026-10-24T21:30", ["2026-10-24T22:00", "2026-10-25T00:00", "2026-10-25T03:00"]),
        # Half an hour, on an island.
        ("10 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", ["2026-10-03T15:30", "2026-10-04T15:10"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00", ["2026-04-04T14:45", "2026-04-05T15:15"]),
        ("*/30 * * * *", "Australia/Lord_Howe", "2026-04-04T14:15", ["2026-04-04T14:30", "2026-04-04T15:00", "2026-04-04T15:30"]),
        # Samoa had no 30 December 2011: it began the 31st at 10:00 UTC of the 30th.
        ("0 6 * * *", "Pacific/Apia", "2011-12-29T00:00", ["2011-12-29T16:00", "2011-12-30T10:00", "2011-12-30T16:00"]),
        ("0 0 30 12 *", "Pacific/Apia", "2010-12-31T00:00", ["2011-12-30T10:00", "2012-12-29T10:00"]),
        # Morocco goes back for Ramadan.
        ("30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00", ["2026-02-15T01:30", "2026-02-16T02:30"]),
    ],
)
def test_when_clocks_are_moved_no_slot_is_lost_or_doubled(text: str, zone: str, begin: str, expected: list[str]) -> None:
    (start,) = utc(begin)
    wanted = utc(*expected)
    assert walk(cron(text, zone), start, wanted[-1]) == wanted


def test_each_hour_stays_each_hour_over_all_moves_of_the_clocks() -> None:
    (start,), (end,) = utc("2020-01-01T00:00"), utc("2030-01-01T00:00")
    for zone in ("Europe/Berlin", "America/New_York", "Africa/Casablanca"):
        assert {after - before for before, after in pairwise(walk(cron("15 * * * *", zone), start, end))} == {3_600_000}


def test_days_that_come_seldom_are_found_however_far_they_are() -> None:
    (start,) = utc("2096-03-01T00:00")
    assert cron("0 0 29 2 *").next_after(start) == utc("2104-02-29T00:00")[0]
    assert cron("0 12 29 2 *", "Asia/Tokyo").newest_between(0, start) == utc("2096-02-29T03:00")[0]


def test_the_calendar_has_an_end_and_a_beginning() -> None:
    far = 10**15
    for text in ("0 0 29 2 *", "* * * * *"):
        schedule = cron(text, "Europe/Berlin")
        assert schedule.next_after(far) is None
        assert schedule.next_after(ms(datetime(9999, 12, 31, 23, 59, tzinfo=UTC))) is None
        assert schedule.newest_between(-far, -far + 1) is None


@pytest.mark.parametrize("text", ["* * * * *", "0 6 * * 1-5", "30 2 * * *", "0 0 29 2 *", "* * 29 2 *", "0 9 * * 1#1"])
def test_the_next_slot_takes_less_than_a_millisecond(text: str) -> None:
    schedule = cron(text, "Europe/Berlin")
    for begin in utc("2026-03-29T00:59", "2096-03-01T00:00", "2026-10-25T00:30"):
        assert least(partial(schedule.next_after, begin)) < 1e-3


def test_the_minutes_of_ten_years_are_counted_in_no_time() -> None:
    schedule = cron("* * * * *", "Europe/Berlin")
    begin, end = utc("2020-01-01T00:00", "2030-01-01T00:00")
    assert schedule.count_between(begin, end) == (end - begin) // 60_000
    assert least(partial(schedule.count_between, begin, end)) < 0.2


def least(call: Callable[[], object]) -> float:
    """The shortest of some durations, in seconds."""
    return min(timeit.repeat(call, number=1, repeat=20))
