"""Slots found by looking at the clock each minute: slow and simple, what the calculus is checked against.

Nothing of the code under test is used: expressions are made together with the sets that they name, and clocks are read minute by
minute. It holds where clocks differ from UTC by whole minutes, as all do since 1972.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
# Clocks that are moved by 30 minutes, at midnight, to "winter" in summer, over a whole day, by three hours back, rarely, never.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "America/Havana",
    "Asia/Tehran",
    "Europe/Dublin",
    "Antarctica/Casey",
    "Asia/Pyongyang",
    "America/St_Johns",
)


@dataclass(frozen=True)
class Named:
    """An expression and what it names."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday

    @property
    def hourly(self) -> bool:
        return len(self.hours) == 24

    def names(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and wall.month in self.months and self._day(wall)

    def _day(self, wall: datetime) -> bool:
        by_date, by_weekday = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        _, _, day, _, weekday = self.text.split()
        return by_date or by_weekday if day != "*" and weekday != "*" else by_date and by_weekday


def slots(named: Named, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """All slots in ``(begin, end]`` (in UTC, whole minutes), in order."""
    found, shown = [], None
    now = begin - DAY
    for wall in clock(zone, now, end):
        if shown is None:
            shown = wall - MINUTE
        if named.hourly:
            due = named.names(wall)
        else:
            # Each time on the wall up to this one that was not there yet: one, or several where the clocks are moved forward.
            due = any(named.names(shown + number * MINUTE) for number in range(1, (wall - shown) // MINUTE + 1))
        if due and now > begin:
            found.append(now)
        shown = max(shown, wall)
        now += MINUTE
    return found


def clock(zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """What the clock shows each minute from ``begin`` to ``end``."""
    info = ZoneInfo(zone)
    return [(begin + number * MINUTE).astimezone(info).replace(tzinfo=None, fold=0) for number in range((end - begin) // MINUTE + 1)]


@cache
def moved(zone: str) -> Sequence[datetime]:
    """The days (midnight UTC) on which the clocks of a zone are moved, from 1972 to 2040; some day if there is none."""
    info = ZoneInfo(zone)
    days = [datetime(1972, 2, 1, tzinfo=UTC) + number * DAY for number in range(68 * 365)]
    offsets = [day.astimezone(info).utcoffset() for day in days]
    found = [day for day, here, there in zip(days, offsets, offsets[1:], strict=False) if here != there]
    return found or [datetime(2026, 3, 1, tzinfo=UTC)]


@st.composite
def moments(draw: st.DrawFn, zone: str) -> datetime:
    """A moment, mostly close to where the clocks of ``zone`` are moved."""
    day = draw(st.sampled_from(moved(zone)) | st.datetimes(datetime(1973, 1, 1), datetime(2045, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # hypothesis takes naive limits
    return (day + draw(st.integers(-2000, 3000)) * MINUTE).replace(second=0, microsecond=0)


def _field(low: int, high: int, few: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field of an expression and what it names; not all values, unless it is ``*``."""
    everything = frozenset(range(low, high + 1))
    one = st.integers(low, high)
    values = st.lists(one, min_size=1, max_size=few, unique=True).map(lambda found: (",".join(map(str, found)), frozenset(found)))
    ranges = st.tuples(one, one).filter(lambda pair: pair[0] < pair[1] and pair[1] - pair[0] < high - low)
    spans = ranges.map(lambda pair: (f"{pair[0]}-{pair[1]}", frozenset(range(pair[0], pair[1] + 1))))
    steps = st.integers(2, high).map(lambda step: (f"*/{step}", frozenset(range(low, high + 1, step))))
    stepped = st.tuples(ranges, st.integers(1, 7)).map(
        lambda both: (f"{both[0][0]}-{both[0][1]}/{both[1]}", frozenset(range(both[0][0], both[0][1] + 1, both[1])))
    )
    return st.one_of(st.just(("*", everything)), values, spans, steps, stepped)


def expressions() -> st.SearchStrategy[Named]:
    """Expressions that come often enough to be seen within some days: restricted by day or month in every way, but not too much."""
    few = {"*": range(24), "2": [2], "0,1,2": [0, 1, 2], "*/2": range(0, 24, 2)}
    early = st.sampled_from([(text, frozenset(hours)) for text, hours in few.items()])
    anything = st.just(("*", frozenset(range(1, 32)))) | _field(1, 31, 12)
    return st.tuples(
        _field(0, 59, 5),
        early | _field(0, 23, 5),
        anything,
        st.just(("*", frozenset(range(1, 13)))) | _field(1, 12, 8),
        st.just(("*", frozenset(range(7)))) | _field(0, 6, 5),
    ).map(lambda fields: Named(" ".join(text for text, _ in fields), *(named for _, named in fields)))
