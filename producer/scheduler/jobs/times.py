"""Times as rq-scheduler's methods take and give them: datetimes, durations, seconds since the epoch.

A datetime without a zone is UTC, as rq-scheduler's README says; one with a zone is that moment. Fractions of a second are kept
(rq-scheduler drops them, and so starts jobs up to a second early). Whoever sends such a time to Redis sends `text` of it:
the shortest one that is read back as the same number.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from taskq.registry.errors import InvalidInput
from taskq.registry.schedules.zone import zone

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ZONES: Final = "zoneinfo/"
_LOCALTIME: Final = Path("/etc/localtime")
_TIMEZONE: Final = Path("/etc/timezone")

UNTIL = datetime | timedelta | int | float | None
"""What rq-scheduler's ``until`` may be."""


def aware(moment: datetime, name: str = "scheduled_time") -> datetime:
    """``moment`` with a zone: its own, or UTC.

    Raises:
        TypeError: it is no datetime; names it as ``name``.
    """
    if not isinstance(moment, datetime):
        raise TypeError(f"{name}={moment!r} must be a datetime; one without a time zone is taken as UTC")
    return moment.replace(tzinfo=UTC) if moment.utcoffset() is None else moment


def to_unix(moment: datetime, name: str = "scheduled_time") -> float:
    """Seconds since the epoch; the same arguments and errors as `aware`."""
    return ((aware(moment, name) - _EPOCH) // _MICROSECOND) / 1e6


def from_unix(seconds: float) -> datetime:
    """The aware datetime in UTC of seconds since the epoch; the last one that there is for what lies behind it."""
    try:
        return _EPOCH + timedelta(microseconds=round(seconds * 1e6))
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def span(value: timedelta, name: str = "time_delta") -> timedelta:
    """``value`` if it is a duration; raises TypeError, naming it as ``name``, if not."""
    if not isinstance(value, timedelta):
        raise TypeError(f"{name}={value!r} must be a timedelta")
    return value


def text(seconds: float) -> str:
    """Seconds as Redis reads them back without loss."""
    return repr(float(seconds))


@dataclass(frozen=True, slots=True)
class Until:
    """The end of a stretch of time, as ZCOUNT and ZRANGE BYSCORE take it. ``open``: without ``limit`` (in s) itself."""

    limit: float = math.inf
    open: bool = False

    def in_seconds(self) -> str:
        """For scores in seconds."""
        return self._bound(self.limit)

    def in_milliseconds(self) -> str:
        """For scores in milliseconds."""
        return self._bound(self.limit * 1000)

    def _bound(self, limit: float) -> str:
        if math.isinf(limit):
            return "+inf" if limit > 0 else "-inf"
        return f"({text(limit)}" if self.open else text(limit)


def until(value: UNTIL, now: Callable[[], float]) -> Until:
    """What ``until`` means.

    Args:
        value: a moment; a duration from now; a number of seconds since the epoch, where a whole number means all of that
            second; None for no end.
        now: says what time it is, in seconds since the epoch.

    Raises:
        TypeError: it is none of these.
    """
    if value is None:
        return Until()
    if isinstance(value, datetime):
        return Until(to_unix(value, "until"))
    if isinstance(value, timedelta):
        return Until(now() + value.total_seconds())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"until={value!r} must be a datetime, a timedelta, or a number of seconds since the epoch")
    return Until(value + 1, open=True) if isinstance(value, int) else Until(value)


def local_zone() -> str:
    """The IANA name of this machine's time zone.

    Raises:
        ValueError: it has none, so that nobody else could say what it means.
    """
    named = os.environ.get("TZ")
    if named is not None:
        return _known(_behind_zones(named.removeprefix(":")) or "UTC", f"TZ={named!r}")
    if not _LOCALTIME.exists():
        return "UTC"
    target = str(_LOCALTIME.resolve())
    if _ZONES in target:
        return _known(_behind_zones(target), f"{_LOCALTIME} → {target}")
    written = _TIMEZONE.read_text(encoding="utf-8", errors="replace").strip() if _TIMEZONE.is_file() else ""
    return _known(written, f"{_LOCALTIME} is a copy, {_TIMEZONE} names {written!r}")


def _behind_zones(path: str) -> str:
    return path.rpartition(_ZONES)[2]


def _known(name: str, source: str) -> str:
    try:
        return zone(name).name
    except InvalidInput:
        raise ValueError(
            f"use_local_timezone=True: this machine's time zone has no IANA name ({source}); set TZ to one, like 'Europe/Berlin'"
        ) from None
