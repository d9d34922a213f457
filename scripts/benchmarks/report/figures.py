"""The figures and their medians."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

from benchmarks.runner import Done


class Figure(NamedTuple):
    """One figure of a measure. ``digits`` behind the point; ``more_is_better``, or less; ``short``: above a column."""

    measure: str
    name: str
    title: str
    digits: int = 0
    more_is_better: bool = True
    short: str = ""


FIGURES = (
    Figure("drain", "per_second", "drain, runs/s", short="drain\nruns/s"),
    Figure("drain", "per_second_with_start", "drain with start-up, runs/s"),
    Figure("enqueue", "one_per_second", "enqueue one by one, runs/s", short="enqueue\none/s"),
    Figure("enqueue", "many_per_second", "enqueue many, runs/s", short="enqueue\nmany/s"),
    Figure("latency", "start_p50_ms", "idle start p50, ms", 2, more_is_better=False, short="start\np50 ms"),
    Figure("latency", "start_p99_ms", "idle start p99, ms", 2, more_is_better=False, short="start\np99 ms"),
    Figure("latency", "round_trip_p50_ms", "round trip p50, ms", 2, more_is_better=False),
    Figure("idle", "pss_mib", "idle PSS, MiB", 1, more_is_better=False, short="idle\nPSS MiB"),
    Figure("threads", "seconds", "1,000 × 10 ms, 16 slots, s", 3, more_is_better=False, short="16 slots\ns"),
    Figure("async", "seconds", "1,000 × 10 ms, async, s", 3, more_is_better=False, short="async\ns"),
    Figure("convergence", "register_p50_ms", "register a change p50, ms", more_is_better=False),
    Figure("convergence", "register_max_ms", "register a change max, ms", more_is_better=False),
    Figure("convergence", "switched_p50_ms", "stage → all switched p50, ms", more_is_better=False),
    Figure("convergence", "switched_max_ms", "stage → all switched max, ms", more_is_better=False),
    Figure("mix", "start_p50_ms", "mix: no-op start p50 while a slot is free, ms", 2, more_is_better=False),
    Figure("mix", "start_p99_ms", "mix: no-op start p99 while a slot is free, ms", 2, more_is_better=False),
    Figure("mix", "all_p99_ms", "mix: no-op start p99 of all, ms", 2, more_is_better=False),
    Figure("swaps", "dip_percent", "100 registers: dip of the throughput, %", 1, more_is_better=False),
    Figure("swaps", "plain_per_second", "100 registers: without, runs/s"),
    Figure("swaps", "swapping_per_second", "100 registers: with, runs/s"),
    Figure("swaps", "swap_p50_ms", "100 registers: one p50, ms", more_is_better=False),
    Figure("swaps", "late_ms", "100 registers: latest start of old code, ms", 1, more_is_better=False),
    Figure("promotes", "dip_percent", "100 promotes: dip of the throughput, %", 1, more_is_better=False),
    Figure("promotes", "plain_per_second", "100 promotes: without, runs/s"),
    Figure("promotes", "swapping_per_second", "100 promotes: with, runs/s"),
    Figure("promotes", "swap_p50_ms", "100 promotes: one p50, ms", more_is_better=False),
    Figure("promotes", "late_ms", "100 promotes: latest start of old code, ms", 1, more_is_better=False),
    Figure("million", "per_second", "a million: enqueued and drained, runs/s"),
    Figure("million", "worker_growth_mib", "a million: worker's RSS, last tenth over second, MiB", 1, more_is_better=False),
    Figure("million", "server_growth_mib", "a million: server's memory after TTLs over before, MiB", 1, more_is_better=False),
    Figure("million", "keys_left", "a million: keys of runs left behind", more_is_better=False),
    Figure("outage", "attempts_per_second", "outage: connection attempts/s of one process, most", 2, more_is_better=False),
    Figure("outage", "recovered_s", "outage: until the full rate, s", 2, more_is_better=False),
    Figure("outage", "lost", "outage: acknowledged runs lost", more_is_better=False),
)
COLUMNS = tuple(figure for figure in FIGURES if figure.short)

Found = dict[tuple[str, str], dict[str, float]]
"""(measure, peer) → figures, of one mode of the append-only file."""


def medians(done: Iterable[Done]) -> dict[str, Found]:
    """The median of each figure over the repeats, by mode of the append-only file."""
    collected: dict[str, dict[tuple[str, str], list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for one in done:
        collected[one.step.aof][one.step.measure, one.step.peer].append(one.measured.figures)
    return {
        aof: {key: {name: median(figures[name] for figures in all_of) for name in all_of[0]} for key, all_of in by_key.items()}
        for aof, by_key in collected.items()
    }
