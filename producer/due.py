"""When a run is due: ``at`` and ``in_`` as a caller gives them, as ``enqueue.lua`` takes it.

A moment is a number of whole milliseconds since the epoch, a delay a number of them that Redis adds to its own clock.
Both are rounded up, so that no run starts early. A time that names no zone means another moment on each machine, so it
is refused and never guessed at.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from taskq.registry import clock
from taskq.registry.authoring.duration import Duration, seconds
from taskq.registry.errors import InvalidInput

FURTHEST: Final = 3653 * 86_400.0
"""Seconds that a run may lie ahead: ten years. What lies further is a slip, such as milliseconds taken for seconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_EXAMPLE: Final = "2026-12-01T09:00:00+01:00"

Moment = datetime | str


def due(at: Moment | None, in_: Duration | None, *, names: tuple[str, str] = ("at", "in_")) -> str:
    """ARGV 12 of ``enqueue.lua``: ``""`` for now, milliseconds since the epoch, or ``+`` and milliseconds from now.

    Args:
        at: an aware datetime, or ISO 8601 text with a zone; None where not asked for. What is past means now.
        in_: seconds, text such as ``"90s"``, or a timedelta; None where not asked for.
        names: what the caller calls the two, for messages.

    Raises:
        InvalidInput: both are given, or one is no such value, names no zone, or lies more than ten years ahead.
    """
    if at is not None and in_ is not None:
        raise InvalidInput(f"{names[0]}={at!r} and {names[1]}={in_!r}: a run is due at a time or after one, so give one of the two")
    if at is not None:
        return _moment(at, names[0])
    return "" if in_ is None else _delay(in_, names[1])


def _delay(value: Duration, name: str) -> str:
    try:
        ahead = seconds(value)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from None
    if ahead > FURTHEST:
        raise InvalidInput(f"{name}={value!r} lies more than ten years ahead; a number without a unit is seconds")
    # Rounded first, so that 1.1 s are 1,100 ms and not the 1,101 of its binary fraction.
    milliseconds = math.ceil(round(ahead * 1000, 3))
    return f"+{milliseconds}" if milliseconds else ""


def _moment(value: Moment, name: str) -> str:
    moment = _parsed(value, name) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise InvalidInput(f"{name}={value!r} must be a datetime with a time zone, or ISO 8601 text such as {_EXAMPLE}")
    if moment.utcoffset() is None:
        raise InvalidInput(f"{name}={value!r} has no time zone, so it names no moment: {_with_zone(value, moment)}")
    milliseconds = -(-((moment - _EPOCH) // _MICROSECOND) // 1000)
    if milliseconds > (clock.now() + FURTHEST) * 1000:
        raise InvalidInput(f"{name}={value!r} lies more than ten years ahead")
    return str(max(0, milliseconds))


def _parsed(text: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(f"{name}={text!r} is not an ISO 8601 time: write it as {_EXAMPLE}") from None


def _with_zone(value: Moment, naive: datetime) -> str:
    """What to write instead of a time without a zone."""
    if not isinstance(value, str):
        return "write it with tzinfo=UTC or ZoneInfo('Europe/Berlin'), or value.astimezone() if it is this machine's local time"
    text = f"write {naive.isoformat()}Z for UTC"
    try:
        local = naive.astimezone()
    except (OverflowError, ValueError):  # a year that the system's zone does not reach
        return text
    return f"{text}, or {local.isoformat()} for this machine's zone" if local.utcoffset() else text
