"""Moments as people write them: aware datetimes, or ISO 8601 text with a zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from taskq.registry.errors import InvalidInput
from taskq.registry.schedules.zone import zone

_EXAMPLE: Final = "'2026-12-01T09:00:00+01:00'"


def aware(value: object, timezone: str | None = None) -> datetime:
    """An aware datetime, in whole milliseconds.

    Args:
        value: an aware datetime, or ISO 8601 text with an offset; a naive one if there is a ``timezone``.
        timezone: IANA name of the zone that a naive value is meant in. One that the clock shows twice is the first, unless a
            datetime's ``fold`` says otherwise.

    Raises:
        InvalidInput: it is none of these, or the clocks of the zone never show it; names the value.
    """
    moment = _read(value)
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    if moment.utcoffset() is None:
        if timezone is None:
            raise InvalidInput(f"{_shown(value)} has no time zone: write one, like {_EXAMPLE}, or name a timezone")
        moment = _localised(moment, timezone)
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"{_shown(value)} is not allowed: in UTC it is not in the years 1 to 9999") from None
    return moment


def is_naive(value: object) -> bool:
    """Whether a moment has no zone of its own; raises `InvalidInput` if it is no moment."""
    return _read(value).utcoffset() is None


def text_of(moment: datetime) -> str:
    """ISO 8601 with offset, as short as it is exact: how a spec stores a moment."""
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")


def milliseconds(moment: datetime) -> int:
    """Whole ms since the epoch."""
    return round(moment.timestamp() * 1000)


def _read(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            pass
    raise InvalidInput(f"{_shown(value)} is no moment: write a datetime with a time zone, or ISO 8601 text like {_EXAMPLE}")


def _localised(moment: datetime, timezone: str) -> datetime:
    there = zone(timezone)
    first, last = there.meanings(moment.replace(microsecond=0, fold=0))
    if first > last:
        raise InvalidInput(f"{moment.isoformat()} does not exist in {timezone}: the clocks are moved forward over it")
    return moment.replace(tzinfo=there.info)


def _shown(value: object) -> str:
    return repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
