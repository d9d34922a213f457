"""The marks: what taskq wants to reach beside the best of the others, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from benchmarks.peers import load
from benchmarks.report.figures import Found

_US = "taskq"


class Mark(NamedTuple):
    """What is wanted, what it is, beside whom, and whether that is enough."""

    title: str
    wanted: str
    value: str
    beside: str
    met: bool


def marks(found: Found) -> Iterator[Mark]:
    """Those of which there are figures, of one mode of the append-only file."""
    yield from _drain(found)
    yield from _beside(found, "latency", "start_p50_ms", "idle start p50", 0.8, less=True)
    yield from _beside(found, "latency", "start_p99_ms", "idle start p99", 1.0, less=True)
    yield from _beside(found, "enqueue", "one_per_second", "enqueue one", 1.3)
    yield from _many(found)
    for measure, name, title, limit, unit in _LIMITS:
        value = _figure(found, measure, _US, name)
        if value is not None:
            yield Mark(title, f"≤ {limit:g} {unit}".rstrip(), f"{value:,.4g} {unit}".rstrip(), "", value <= limit)


# measure, figure, title, limit, unit
_LIMITS = (
    ("idle", "pss_mib", "idle PSS", 60, "MiB"),
    ("threads", "seconds", "1,000 × 10 ms at 16 slots", 0.75, "s"),
    ("async", "seconds", "1,000 × 10 ms async with 500 slots", 0.2, "s"),
    ("mix", "start_p99_ms", "mix: no-op p99 while a slot is free", 20, "ms"),
    ("swaps", "dip_percent", "100 registers in 60 s: dip", 10, "%"),
    ("swaps", "swapping_s", "100 registers: they take", 61, "s"),
    ("swaps", "failed", "100 registers in 60 s: failed runs", 0, ""),
    ("promotes", "dip_percent", "100 promotes in 60 s: dip", 10, "%"),
    ("promotes", "swapping_s", "100 promotes: they take", 61, "s"),
    ("promotes", "failed", "100 promotes in 60 s: failed runs", 0, ""),
    ("million", "keys_left", "a million runs: keys left behind", 0, ""),
    ("outage", "attempts_per_second", "Redis down: connection attempts/s of one process", 2, ""),
    ("outage", "recovered_s", "Redis down: full rate after", 5, "s"),
    ("outage", "lost", "Redis down: acknowledged runs lost", 0, ""),
    ("outage", "exited", "Redis down: processes that exited", 0, ""),
)


def _drain(found: Found) -> Iterator[Mark]:
    """Of all that store results; of all; of the forking worker; and the mark to beat after these."""
    ours = _figure(found, "drain", _US, "per_second")
    if ours is None:
        return
    others = _others(found, "drain", "per_second")
    storing = {peer: value for peer, value in others.items() if load(peer).stores}
    forking = {peer: value for peer, value in others.items() if peer == "rq"}
    for title, among, times in (
        ("drain, of those that store results", storing, 4),
        ("drain, of any configuration", others, 3),
        ("drain, of the forking RQ worker", forking, 120),
        ("drain, the mark after these", others, 5),
    ):
        if among:
            best = max(among, key=lambda peer, values=among: values[peer])  # type: ignore[misc]  # mypy sees no lambda's default
            yield _times(title, ours, among[best], best, times)


def _beside(found: Found, measure: str, name: str, title: str, factor: float, *, less: bool = False) -> Iterator[Mark]:
    ours, others = _figure(found, measure, _US, name), _others(found, measure, name)
    if ours is None or not others:
        return
    chosen: Callable[..., str] = min if less else max
    best = chosen(others, key=lambda peer: others[peer])
    ratio = ours / others[best]
    wanted, met = (f"≤ {factor:g} ×", ratio <= factor) if less else (f"≥ {factor:g} ×", ratio >= factor)
    yield Mark(title, wanted, f"{ratio:,.2f} ×", f"{load(best).title} {others[best]:,.4g}", met)


def _many(found: Found) -> Iterator[Mark]:
    ours, rq = _figure(found, "enqueue", _US, "many_per_second"), _figure(found, "enqueue", "rq", "many_per_second")
    if ours is None:
        return
    times = None if rq is None else ours / rq
    value = f"{ours:,.0f}/s" + ("" if times is None else f" or {times:,.2f} ×")
    beside = "" if rq is None else f"rq worker {rq:,.0f}"
    yield Mark("enqueue many", "≥ 40,000/s or 2.5 × RQ's", value, beside, ours >= 40_000 or (times is not None and times >= 2.5))


def _times(title: str, ours: float, best: float, peer: str, times: float) -> Mark:
    return Mark(title, f"≥ {times:g} ×", f"{ours / best:,.2f} ×", f"{load(peer).title} {best:,.0f}", ours >= times * best)


def _others(found: Found, measure: str, name: str) -> dict[str, float]:
    peers: Iterable[str] = (peer for kind, peer in found if kind == measure and peer != _US)
    return {peer: found[measure, peer][name] for peer in peers}


def _figure(found: Found, measure: str, peer: str, name: str) -> float | None:
    return found.get((measure, peer), {}).get(name)
