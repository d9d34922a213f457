"""What is counted of the runs that ended: by task, version and minute. Pure.

A hash of one minute (`taskq.registry.keys.Keys.stats`) holds ``succeeded``, ``failed``, ``cancelled`` and ``retried`` (attempts that
count and were given back), and how long the attempts took that executors reported: ``le:<ms>`` is how many took at most so long and
longer than the bound before it, ``le:inf`` those beyond the last one, ``sum_ms`` all of them together. The supervisor adds up a batch,
so that a run costs one addition here, and a batch a few commands.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final

from taskq.worker.runs.run import Run
from taskq.worker.runs.verdicts import Finish, Verdict

BOUNDS: Final = (
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000,
    100_000, 200_000, 500_000, 1_000_000, 2_000_000, 3_600_000,
)  # fmt: skip
"""Upper bounds of the buckets in ms: 1 ms to 1 h."""
_FIELDS: Final = (*(f"le:{bound}" for bound in BOUNDS), "le:inf")
_COUNTED: Final = {"finished": "succeeded", "failed": "failed", "canceled": "cancelled"}

Counts = dict[tuple[str, int], dict[str, float]]
"""Task and version → field → by how much it grows."""


def bucket(milliseconds: float) -> str:
    """The field of the histogram for a duration."""
    return _FIELDS[bisect_left(BOUNDS, milliseconds)]


def count(items: Iterable[tuple[Run, Verdict]], into: Counts | None = None) -> Counts:
    """Add up how runs ended; what never came to a version is not counted.

    Args:
        items: runs and their verdicts. ``into``: is added to and returned; new if None.
    """
    counts: Counts = {} if into is None else into
    for run, verdict in items:
        name = _COUNTED[verdict.status] if isinstance(verdict, Finish) else "retried" if verdict.burned else ""
        if not name or not run.version:
            continue
        fields = counts.get((run.task, run.version))
        if fields is None:
            fields = counts[run.task, run.version] = {}
        fields[name] = fields.get(name, 0) + 1
        if run.took is not None:
            took = run.took * 1000
            name = bucket(took)
            fields[name] = fields.get(name, 0) + 1
            fields["sum_ms"] = fields.get("sum_ms", 0.0) + took
    return counts


def add(counts: Counts, into: Counts) -> None:
    """Add counts to others."""
    for key, fields in counts.items():
        known = into.setdefault(key, {})
        for name, value in fields.items():
            known[name] = known.get(name, 0) + value


def stats_args(counts: Counts) -> list[Any]:
    """The last arguments of ``finish.lua`` and ``cycle.lua``."""
    args: list[Any] = []
    for (task, version), fields in counts.items():
        args += (f"{task}:{version}", len(fields))
        for name, value in fields.items():
            args += (name, f"{value:.3f}" if name == "sum_ms" else int(value))
    return args
