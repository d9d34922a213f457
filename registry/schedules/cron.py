"""`Cron`: a cron expression as a set of times on the wall."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from taskq.registry.errors import InvalidInput

_MACROS: Final = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_FIELDS: Final = ("minute", "hour", "day", "month", "weekday")
_LONGEST: Final = 200
_MINUTE: Final = timedelta(minutes=1)
_EVERY_MONTH: Final = tuple(range(1, 13))
# The calendar repeats after 400 years: a date that is not in these months never comes.
_CYCLE: Final = 400 * 12
_LENGTHS: Final = {month: (30,) if month in (4, 6, 9, 11) else (31,) for month in _EVERY_MONTH} | {2: (28, 29)}
_ALLOWED: Final = f"5 fields (minute 0-59, hour 0-23, day 1-31, month 1-12, weekday 0-7) or one of {' '.join(_MACROS)}"


class Cron:
    """The times on the wall that an expression names.

    If both the day of the month and the weekday are restricted, either of them suffices.

    Attributes:
        hourly: it names each of the 24 hours, so that it goes by the hour or oftener.
    """

    def __init__(self, expression: str) -> None:
        fields = _parsed(expression)
        hours = _numbers(fields.expanded[1], range(24))
        minutes = _numbers(fields.expanded[0], range(60))
        self.hourly = len(hours) == 24
        self._times = tuple(60 * hour + minute for hour in hours for minute in minutes)
        self._days = _Days(fields.expanded[2], fields.expanded[4], fields.nth_weekday_of_month, fields.nearest_weekday)
        self._months = _numbers(fields.expanded[3], _EVERY_MONTH)
        if not any(self._days.of(first, length) for month in self._months for length in _LENGTHS[month] for first in range(7)):
            raise InvalidInput(f"cron {expression!r} never comes: no month of it has such a day")

    def after(self, wall: datetime) -> datetime | None:
        """The first time after ``wall``; None behind the end of the calendar."""
        days = self._days_of(wall.year, wall.month)
        at = bisect_right(self._times, 60 * wall.hour + wall.minute)
        if at < len(self._times) and wall.day in days:
            return _time(wall.year, wall.month, wall.day, self._times[at])
        later = bisect_right(days, wall.day)
        if later < len(days):
            return _time(wall.year, wall.month, days[later], self._times[0])
        year, month = wall.year, wall.month
        for _ in range(_CYCLE):
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
            if year > 9999:
                return None
            days = self._days_of(year, month)
            if days:
                return _time(year, month, days[0], self._times[0])
        return None

    def until(self, wall: datetime) -> datetime | None:
        """The last time that is not after ``wall``; None before the beginning of the calendar."""
        days = self._days_of(wall.year, wall.month)
        at = bisect_right(self._times, 60 * wall.hour + wall.minute)
        if at and wall.day in days:
            return _time(wall.year, wall.month, wall.day, self._times[at - 1])
        later = bisect_left(days, wall.day)
        if later:
            return _time(wall.year, wall.month, days[later - 1], self._times[-1])
        year, month = wall.year, wall.month
        for _ in range(_CYCLE):
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
            if year < 1:
                return None
            days = self._days_of(year, month)
            if days:
                return _time(year, month, days[-1], self._times[-1])
        return None

    def count(self, low: datetime, high: datetime) -> int:
        """How many there are after ``low`` and not after ``high``, without a walk through all of them."""
        return self._before(high + _MINUTE, low.year) - self._before(low + _MINUTE, low.year) if low < high else 0

    def _before(self, wall: datetime, first_year: int) -> int:
        """How many there are before the minute of ``wall``, from ``first_year`` on."""
        months = [(year, month) for year in range(first_year, wall.year) for month in self._months]
        months += [(wall.year, month) for month in self._months if month < wall.month]
        days = self._days_of(wall.year, wall.month)
        total = sum(len(self._days_of(year, month)) for year, month in months) + bisect_left(days, wall.day)
        today = bisect_left(self._times, 60 * wall.hour + wall.minute) if wall.day in days else 0
        return total * len(self._times) + today

    def _days_of(self, year: int, month: int) -> tuple[int, ...]:
        return self._days.of(*monthrange(year, month)) if month in self._months else ()


class _Days:
    """The days of a month that an expression names; they depend on the month's length and its first weekday alone."""

    def __init__(self, days: list[Any], weekdays: list[Any], nth: Mapping[Any, Iterable[Any]], nearest: Iterable[int]) -> None:
        self._days, self._weekdays, self._nth, self._nearest = days, weekdays, nth, tuple(nearest)
        self._known: dict[tuple[int, int], tuple[int, ...]] = {}

    def of(self, first: int, length: int) -> tuple[int, ...]:
        """The days of a month, in order.

        Args:
            first: its first weekday, 0 for Monday. ``length``: how many days it has.
        """
        found = self._known.get((first, length))
        if found is None:
            found = self._known[first, length] = tuple(sorted(self._made(first, length)))
        return found

    def _made(self, first: int, length: int) -> set[int]:
        everything = set(range(1, length + 1))
        by_date = None if self._days == ["*"] else self._by_date(first, length)
        by_weekday = None if self._weekdays == ["*"] else self._by_weekday(first, length)
        if by_date is None:
            return everything if by_weekday is None else by_weekday
        return by_date if by_weekday is None else by_date | by_weekday

    def _by_date(self, first: int, length: int) -> set[int]:
        if self._nearest:
            return {_workday(min(day, length), first, length) for day in self._nearest}
        return {length if day == "l" else day for day in self._days if day == "l" or day <= length}

    def _by_weekday(self, first: int, length: int) -> set[int]:
        named = set()
        for weekday in self._weekdays:
            # The expression's 0 is Sunday, the calendar's is Monday.
            all_of_it = range(1 + (weekday - 1 - first) % 7, length + 1, 7)
            wanted = self._nth.get(weekday)
            named |= set(all_of_it) if wanted is None else {day for number in wanted if (day := _numbered(all_of_it, number))}
        return named


def _numbered(days: range, number: int | str) -> int | None:
    if number == "l":
        return days[-1]
    return days[int(number) - 1] if int(number) <= len(days) else None


def _workday(day: int, first: int, length: int) -> int:
    """The day from Monday to Friday that is the nearest to ``day`` and in the same month."""
    weekday = (first + day - 1) % 7
    if weekday == 5:
        return day - 1 if day > 1 else day + 2
    if weekday == 6:
        return day + 1 if day < length else day - 2
    return day


@lru_cache(maxsize=4096)
def cron(expression: str) -> Cron:
    """The times that a normalised expression names.

    Raises:
        InvalidInput: it is none, or it never comes; names it and says what is allowed.
    """
    return Cron(expression)


def normalised(expression: object) -> str:
    """``expression`` with single blanks.

    Raises:
        InvalidInput: it is no cron expression, or it never comes.
    """
    if not isinstance(expression, str):
        raise InvalidInput(f"cron {expression!r} is no text: allowed are {_ALLOWED}")
    text = " ".join(expression.split())
    cron(text)
    return text


def _parsed(expression: str) -> Any:
    shown = expression if len(expression) <= _LONGEST else expression[:_LONGEST] + "…"
    fields = expression.lower().split()
    macro = len(fields) == 1 and fields[0] in _MACROS
    if len(expression) > _LONGEST or not expression.isascii() or not (macro or len(fields) == len(_FIELDS)):
        raise InvalidInput(f"cron {shown!r} is not allowed: allowed are {_ALLOWED}")
    for field in fields if not macro else ():
        if field.startswith(("h", "r")):
            raise InvalidInput(f"cron {expression!r} is not allowed: {field!r} would be another time for each who reads it")
        same = re.search(r"(?<![\w#])(\w+)-\1(?!\w)", field)
        if same:
            # croniter takes it for the whole field, other crons for the one value.
            raise InvalidInput(f"cron {expression!r} is not allowed: {same.group()!r} is no range, write {same.group(1)!r}")
    read = _read(expression)
    if read is None:
        raise InvalidInput(f"cron {expression!r} is not allowed: {_fault(fields)}; allowed are {_ALLOWED}")
    return read


def _read(expression: str) -> Any:
    """What croniter makes of an expression; None if it refuses it."""
    # Not at the top: it costs 20 ms and 1 MiB, and many processes see no such schedule.
    from croniter import croniter  # type: ignore[import-untyped]  # noqa: PLC0415  # see above; it ships no types

    try:
        return croniter(expression, 0)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def _fault(fields: list[str]) -> str:
    """Which field croniter refuses."""
    for at, (name, field) in enumerate(zip(_FIELDS, fields, strict=True)):
        if _read(" ".join([*"*" * at, field, *"*" * (len(fields) - at - 1)])) is None:
            return f"{field!r} is no {name}"
    return "its fields don't go together"


def _numbers(field: list[Any], everything: Iterable[int]) -> tuple[int, ...]:
    return tuple(everything) if field == ["*"] else tuple(sorted(field))


def _time(year: int, month: int, day: int, minute: int) -> datetime:
    return datetime(year, month, day, minute // 60, minute % 60)  # noqa: DTZ001  # a time on the wall
