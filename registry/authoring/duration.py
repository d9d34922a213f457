"""Durations as people write them: ``90``, ``"90s"``, ``"1m30s"``, ``"2h"``, ``"7d"``, ``"250ms"``."""

from __future__ import annotations

import math
import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_BEYOND = 1e300

Duration = int | float | str | timedelta


def seconds(value: object) -> float:
    """A duration in seconds.

    Args:
        value: a number of seconds, a `timedelta`, or text of numbers with units ms, s, m, h, d, w.

    Raises:
        ValueError: it is none of these, negative or not finite.
    """
    if isinstance(value, timedelta):
        result = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        result = float(value) if abs(value) < _BEYOND else math.inf  # an integer may be too large for a float
    elif isinstance(value, str):
        result = _parse(value.strip())
    else:
        raise ValueError(f"{value!r} is not a duration: write seconds, or text like '30s', '1m30s', '2h'")  # noqa: TRY004  # one kind of error for each value that is no duration
    if not math.isfinite(result) or result < 0:
        raise ValueError(f"{_shown(value)} is not a duration: it must be finite and not negative")
    return result


def _shown(value: object) -> str:
    return f"an integer of {value.bit_length()} bits" if isinstance(value, int) and abs(value) >= _BEYOND else repr(value)


def _parse(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write seconds, or text like '30s', '1m30s', '2h'")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
