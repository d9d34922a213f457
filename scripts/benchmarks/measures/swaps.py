"""``swaps`` and ``promotes``: what changing a task costs while its runs are drained.

``swaps`` registers new code each time: it is tried in an executor of its own, staged, loaded by the worker, switched. ``promotes`` goes to
and fro between two versions that are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell, percentile
from benchmarks.measures.load import Feeder, rate
from benchmarks.peers.fleet import Taskq
from benchmarks.peers.peer import Peer
from benchmarks.processes import pause
from taskq import Registry, Settings

_LOW = 20_000
_WARM = 2.0
_READ = 4_000
_SOURCE = """import time

from taskq import task


@task
def changing() -> list[float]:
    return [{number}, time.time()]
"""

Swap = Callable[[Registry, Path, int], int]


def registered(peer: Peer, size: Size, tell: Tell) -> Measured:
    """See `_measure`."""
    return _measure(peer, size, tell, _register)


def promoted(peer: Peer, size: Size, tell: Tell) -> Measured:
    """See `_measure`."""
    return _measure(peer, size, tell, _promote)


def _register(registry: Registry, source: Path, number: int) -> int:
    """New code; returns the number that it gives."""
    source.write_text(_SOURCE.format(number=number))
    (document,) = registry.register(source, origin="benchmark")
    if document["state"] not in ("active", "unchanged"):
        raise BenchError(f"taskq: swap {number} is {document['state']}: {document.get('errors')}")
    return number


def _promote(registry: Registry, source: Path, number: int) -> int:
    """One of the two versions that are there; the first two calls make them. Returns the number that it gives."""
    if number < 2:
        return _register(registry, source, number)
    registry.promote("changing", number % 2 + 1)
    return number % 2


def _measure(peer: Peer, size: Size, tell: Tell, swap: Swap) -> Measured:
    """Drain without changes, with them, and without again; the dip is that of the middle against the mean of its neighbours.

    Raises:
        BenchError: a run failed or was lost, or started on code that was not current.
    """
    assert isinstance(peer, Taskq)  # noqa: S101  # `MEASURES` says so
    settings = Settings(redis_url=peer.server.url)
    source = peer.server.folder / "changing.py"
    with Registry(settings=settings, who="benchmark") as registry:
        timeline = [_swap(registry, source, number, swap) for number in (0, 1)]
        worker = peer.worker("worker", TASKQ_LOG_LEVEL="WARNING")
        with Feeder(peer, "changing", _LOW) as feeder:
            _until_it_runs(peer)
            pause(min(_WARM, size.plain))
            plain = [rate(peer, size.plain)]
            tell(0.25)
            began, before = time.monotonic(), peer.finished()
            for number in range(2, 2 + size.swaps):
                timeline.append(_swap(registry, source, number, swap))
                peer.processes.check()
                due = began + (number - 1) * size.swapping / size.swaps
                pause(max(0.0, due - time.monotonic()))
                tell(0.25 + 0.5 * (number - 1) / size.swaps)
            took = time.monotonic() - began
            swapping = (peer.finished() - before) / took
            plain.append(rate(peer, size.plain))
    peer.wait_until_finished(feeder.enqueued)
    wrong = _check(peer, feeder, timeline)
    peer.processes.retire(worker)
    without = sum(plain) / len(plain)
    taken = [(end - start) * 1000 for start, end, _ in timeline[2:]]
    figures = {
        "plain_per_second": without,
        "swapping_per_second": swapping,
        "dip_percent": 100 * (1 - swapping / without),
        "swap_p50_ms": percentile(taken, 0.5),
        "swap_max_ms": max(taken),
        "swapping_s": took,
        "failed": float(peer.failed()),
        "late_ms": wrong,
    }
    return Measured(feeder.enqueued, figures, {"swap_ms": [round(ms, 1) for ms in taken], "plain_per_second": [round(x) for x in plain]})


def _swap(registry: Registry, source: Path, number: int, swap: Swap) -> tuple[float, float, int]:
    """Make one; returns when it began and was committed (seconds since the epoch), and the number that runs return from then on."""
    began = time.time()
    gives = swap(registry, source, number)
    return began, time.time(), gives


def _until_it_runs(peer: Taskq) -> None:
    peer.wait_until_finished(1)


def _check(peer: Taskq, feeder: Feeder, timeline: list[tuple[float, float, int]]) -> float:
    """Compare runs with the code that was current; returns by how much the latest was late, in ms.

    A run that was claimed just before a change starts just after it: so much it may be late, and no more than a backlog takes.

    Raises:
        BenchError: a run failed, or started on code that had not been registered yet.
    """
    peer.none_failed()
    if peer.waiting() or peer.finished() != feeder.enqueued:
        raise BenchError(f"taskq: {peer.finished()} of {feeder.enqueued} runs have finished, {peer.waiting()} wait")
    latest = 0.0
    for value in feeder.values(0, feeder.enqueued, max(1, feeder.enqueued // _READ)):
        latest = max(latest, _late(value, timeline))
    return latest * 1000


def _late(value: Any, timeline: list[tuple[float, float, int]]) -> float:
    """By how many seconds a run started after the code that it ran had been replaced.

    Raises:
        BenchError: it ran code that came later.
    """
    gives, started = value
    current = max((number for number, (began, _, _) in enumerate(timeline) if began <= started), default=0)
    for number in range(current, -1, -1):
        if timeline[number][2] == gives:
            replaced = timeline[number + 1][1] if number + 1 < len(timeline) else started
            return max(0.0, float(started - replaced))
    raise BenchError(f"taskq: a run that started at {started} gave {gives}, which no code that was registered by then gives")
