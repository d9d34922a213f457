"""How times, durations and digests are written for people."""

from __future__ import annotations

from datetime import datetime

from taskq.registry import clock

_STEPS = ((60, "s", 1), (3600, "m", 60), (86_400, "h", 3600), (float("inf"), "d", 86_400))


def parse(text: str) -> datetime:
    """A time of a JSON document."""
    return datetime.fromisoformat(text)


def ago(text: str | None) -> str:
    """``12 s ago`` or ``in 12 s`` for a time of a JSON document; ``-`` for none."""
    if not text:
        return "-"
    past = clock.now() - parse(text).timestamp()
    return f"{brief(past)} ago" if past >= 0 else f"in {brief(0.5 - past)}"  # what is asked for in an hour is not 59 m away


def local(text: str | None) -> str | None:
    """``2026-11-22 18:12:03`` in this machine's zone; None for none."""
    return parse(text).astimezone().strftime("%Y-%m-%d %H:%M:%S") if text else None


def due_words(text: str | None) -> str | None:
    """``2026-11-22 18:12:03 (in 5 m)`` for the time at which a run is due; None for none."""
    return f"{local(text)} ({ago(text)})" if text else None


def brief(seconds: float) -> str:
    """``12 s``, ``3 m``, ``5 h``, ``2 d``."""
    for limit, unit, size in _STEPS:
        if seconds < limit:
            return f"{int(seconds // size)} {unit}"
    raise AssertionError("unreachable")  # the last limit is infinite


def took(start: str | None, end: str | None) -> str:
    """How long something took: ``35 ms``, ``1.2 s``, ``3 m 20 s``; ``-`` if it has not begun and ended."""
    if not start or not end:
        return "-"
    seconds = max(0.0, (parse(end) - parse(start)).total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # a minute
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} m {int(seconds % 60)} s"


def short(digest: str | None) -> str:
    """The first 12 digits of a digest."""
    return (digest or "-")[:12]


def last_line(text: str | None) -> str | None:
    """The last line of a traceback: the exception itself."""
    lines = (text or "").strip().splitlines()
    return lines[-1] if lines else None


def counted(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
