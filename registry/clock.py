"""The one module that asks a clock.

Due times and leases are decided by Redis' clock inside the scripts; durations are measured on the monotonic clock;
wall time is only ever shown to people. Tests move time by replacing the functions of ``source``.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Source:
    """Where time comes from; an instance attribute may be replaced in tests."""

    def __init__(self) -> None:
        self.monotonic = time.monotonic
        self.wall = time.time


source = Source()


def monotonic() -> float:
    """Seconds on a clock that never goes back, for durations and deadlines of this process."""
    return source.monotonic()


def now() -> float:
    """Seconds since the epoch on this machine's clock: for what people read, never for a decision between machines."""
    return source.wall()


def utc(timestamp: float) -> datetime:
    """An aware UTC datetime for seconds since the epoch."""
    return datetime.fromtimestamp(timestamp, tz=UTC)


def iso(timestamp: float | None) -> str | None:
    """ISO 8601 with zone and milliseconds, or None: the form of all times in JSON documents."""
    return None if timestamp is None else utc(timestamp).isoformat(timespec="milliseconds")


def rq_format(timestamp: float) -> str:
    """RQ's own text form of a time (``2026-11-22T17:41:46.123456Z``)."""
    return utc(timestamp).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def rq_parse(text: str | bytes | None) -> float | None:
    """Seconds since the epoch from RQ's text form; None for an empty or missing field."""
    if not text:
        return None
    value = text.decode() if isinstance(text, bytes) else text
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in value else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.strptime(value, form).replace(tzinfo=UTC).timestamp()
