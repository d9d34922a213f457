"""Folded stacks of a sampling profiler, by function of ours."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("worker", "registry", "producer", "taskq")


def by_function(text: str) -> Counter[str]:
    """Samples by the innermost function of ours.

    Args:
        text: a line for each stack: frames from the outermost on, between semicolons, and how often it was seen.
    """
    found: Counter[str] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        if stack:
            found[_owner(stack.split(";"))] += int(count)
    return found


def by_module(functions: Counter[str]) -> Counter[str]:
    """Samples by module, of samples by function."""
    found: Counter[str] = Counter()
    for name, count in functions.items():
        found[name.partition(" ")[0]] += count
    return found


def _owner(frames: list[str]) -> str:
    """``worker/supervisor/claims.py claim``, with ``› selectors.py select`` where what it called was at work.

    A stack without any of ours belongs to its innermost frame.
    """
    called = ""
    for frame in reversed(frames):
        path, function = _split(frame)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ROOMS:
            return f"{path.relative_to(ROOT)} {function}{called}"
        called = called or f" › {path.name} {function}"
    path, function = _split(frames[-1])
    return f"({path.parent.name}/{path.name}) {function}"


def _split(frame: str) -> tuple[Path, str]:
    """File and function of ``function (file:line)``."""
    function, _, place = frame.rstrip(")").rpartition(" (")
    return Path(place.partition(":")[0]), function
