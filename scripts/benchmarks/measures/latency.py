"""``latency``: how long a run waits for its start while the worker is idle."""

from __future__ import annotations

import random

from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell, percentile
from benchmarks.peers.peer import Peer
from benchmarks.processes import pause

_WARM = 30
_GAP = (0.010, 0.050)
_LONGEST = 30


def measure(peer: Peer, size: Size, tell: Tell) -> Measured:
    """Enqueue one run after the other, each after a random pause.

    Raises:
        BenchError: a run failed, was lost, or says that it began before it was enqueued.
    """
    worker = peer.start_worker()
    peer.prepare()
    peer.warm_up(_WARM)
    dice = random.Random(2077)  # noqa: S311  # the same pauses for all
    started, returned = [], []
    for sample in range(size.samples):
        pause(dice.uniform(*_GAP))
        began, start, end = peer.face.sample(_LONGEST)
        if not isinstance(start, float) or not began < start < end:
            raise BenchError(f"{peer.title}: a run that was enqueued at {began} and read at {end} says that it started at {start!r}")
        started.append((start - began) * 1000)
        returned.append((end - began) * 1000)
        tell(sample / size.samples)
    wanted = _WARM + size.samples
    peer.wait_until_finished(wanted)
    if peer.finished() != wanted or peer.waiting():
        raise BenchError(f"{peer.title}: {peer.finished()} runs have finished instead of {wanted}")
    peer.processes.retire(worker)
    figures = {
        "start_p50_ms": percentile(started, 0.5),
        "start_p99_ms": percentile(started, 0.99),
        "round_trip_p50_ms": percentile(returned, 0.5),
    }
    return Measured(
        size.samples, figures, {"start_ms": [round(ms, 3) for ms in started], "round_trip_ms": [round(ms, 3) for ms in returned]}
    )
