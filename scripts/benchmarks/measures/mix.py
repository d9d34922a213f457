"""``mix``: how long no-ops wait for their start beside runs that take a second."""

from __future__ import annotations

import random
import time

from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell, percentile
from benchmarks.peers.fleet import Taskq
from benchmarks.peers.peer import Peer
from benchmarks.processes import pause

_PER_SECOND = 100
_SLOW = 0.01
_WORKERS = 2
_EXECUTORS = 2
_LONGEST = 60


def measure(peer: Peer, size: Size, tell: Tell) -> Measured:
    """Enqueue at a steady rate, 1 % of them slow, for two workers of two executors each.

    The figures are those of the no-ops that were enqueued while a slot was free: while fewer slow runs than there are executors were
    ahead of them, in progress or still in the queue. Whatever happens afterwards counts. All no-ops are a figure of their own.

    Raises:
        BenchError: a run failed or was lost.
    """
    assert isinstance(peer, Taskq)  # noqa: S101  # `MEASURES` says so
    peer.register("mix_tasks.py")
    workers = [peer.worker(f"worker {number}", "--executors", str(_EXECUTORS), "--name", f"w{number}") for number in range(_WORKERS)]
    for number in range(40):
        peer.face.calls("quick", 1)
        peer.wait_until_finished(number + 1)
    warm = len(peer.face.handles)
    dice = random.Random(2077)  # noqa: S311  # the same load each time
    slow, quick = _enqueue(peer, int(size.mix * _PER_SECOND), dice, tell)
    runs = len(slow) + len(quick)
    peer.wait_until_finished(warm + runs)
    spans = [(at, peer.face.value(handle, _LONGEST)[1]) for at, handle in slow]
    waits = [(at, peer.face.value(handle, _LONGEST) - at) for at, handle in quick]
    for worker in workers:
        peer.processes.retire(worker)
    peer.none_failed()
    if peer.finished() != warm + runs:
        raise BenchError(f"taskq: {peer.finished()} runs have finished instead of {warm + runs}")
    slots = _WORKERS * _EXECUTORS
    free = [wait * 1000 for at, wait in waits if sum(since <= at < end for since, end in spans) < slots]
    everything = [wait * 1000 for _, wait in waits]
    figures = {
        "start_p50_ms": percentile(free, 0.5),
        "start_p99_ms": percentile(free, 0.99),
        "start_max_ms": max(free),
        "all_p99_ms": percentile(everything, 0.99),
        "free": len(free),
        "slow": len(slow),
    }
    return Measured(runs, figures, {"start_ms": [round(ms, 3) for ms in everything]})


def _enqueue(peer: Taskq, count: int, dice: random.Random, tell: Tell) -> tuple[list[tuple[float, object]], list[tuple[float, object]]]:
    """At a steady rate; returns the slow runs and the no-ops: when each was enqueued, and its handle."""
    slow: list[tuple[float, object]] = []
    quick: list[tuple[float, object]] = []
    due = time.monotonic()
    for number in range(count):
        due += 1 / _PER_SECOND
        pause(max(0.0, due - time.monotonic()))
        at = time.monotonic()
        if dice.random() < _SLOW:
            slow.append((at, peer.face.enqueue("slow")))
        else:
            quick.append((at, peer.face.enqueue("quick")))
        if number % _PER_SECOND == 0:
            peer.processes.check()
            tell(number / count)
    return slow, quick
