"""How many runs of a version ended, how, and how long they took: what workers count by the minute."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypedDict

from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.keys import Keys

KEPT: Final = 25 * 60
"""Minutes for which counts are kept."""
_BUCKET: Final = "le:"


class Stats(TypedDict):
    """Counts of the runs of one version that ended in some minutes.

    ``retried`` are attempts that were followed by another one. ``durations`` are how many attempts took at most so many milliseconds, and
    longer than the bound before it: (bound, count), the shortest first, without empty ones; the last bound may be infinite.
    ``sum_ms`` is what all of them took together.
    """

    succeeded: int
    failed: int
    cancelled: int
    retried: int
    sum_ms: float
    durations: list[tuple[float, int]]


def read_stats(keys: Keys, task: str, version: int, minutes: int) -> Op[Stats]:
    """The counts of a version for the last ``minutes`` minutes (at most `KEPT`), the one that has just begun included."""
    seconds, _ = yield Command("TIME")
    now = int(seconds) // 60
    replies = yield Pipeline([Command("HGETALL", keys.stats(task, version, now - ago)) for ago in range(max(1, min(minutes, KEPT)))])
    total: dict[str, float] = {}
    for reply in replies:
        for name, value in reply.items():
            field = name.decode() if isinstance(name, bytes) else str(name)
            total[field] = total.get(field, 0.0) + float(value)
    return {
        "succeeded": int(total.get("succeeded", 0)),
        "failed": int(total.get("failed", 0)),
        "cancelled": int(total.get("cancelled", 0)),
        "retried": int(total.get("retried", 0)),
        "sum_ms": total.get("sum_ms", 0.0),
        "durations": _durations(total),
    }


def percentile(stats: Stats, share: float) -> float | None:
    """The duration in ms that a share (0 to 1) of the attempts did not exceed (the upper bound of its bucket); None without any."""
    count = sum(number for _, number in stats["durations"])
    passed = 0
    for bound, number in stats["durations"]:
        passed += number
        if passed >= share * count:
            return bound
    return None


def _durations(total: Mapping[str, float]) -> list[tuple[float, int]]:
    found = {field.removeprefix(_BUCKET): int(value) for field, value in total.items() if field.startswith(_BUCKET)}
    return sorted((math.inf if bound == "inf" else float(bound), number) for bound, number in found.items())
