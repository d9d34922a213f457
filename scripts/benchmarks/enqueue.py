"""``enqueue``: one by one, and many at once; no worker runs."""

from __future__ import annotations

import time

from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell
from benchmarks.peers.peer import Peer

_CALL = 1000
_WARM = 20


def measure(peer: Peer, size: Size, tell: Tell) -> Measured:
    """Enqueue, and count what waits then.

    Raises:
        BenchError: the queue does not hold exactly the runs that were enqueued.
    """
    peer.prepare()
    for _ in range(_WARM):
        peer.enqueue("constant")
    one = []
    for _ in range(size.one):
        began = time.perf_counter()
        peer.enqueue("constant")
        one.append(time.perf_counter() - began)
    tell(0.5)
    many = []
    for at in range(0, size.runs, _CALL):
        began = time.perf_counter()
        peer.enqueue_many("constant", min(_CALL, size.runs - at))
        many.append(time.perf_counter() - began)
        tell(0.5 + 0.5 * at / size.runs)
    wanted = _WARM + size.one + size.runs
    if peer.waiting() != wanted:
        raise BenchError(f"{peer.title}: {peer.waiting()} runs wait instead of {wanted}")
    figures = {"one_per_second": size.one / sum(one), "many_per_second": size.runs / sum(many)}
    samples = {"one_ms": [round(seconds * 1000, 4) for seconds in one], "call_of_1000_ms": [round(seconds * 1000, 3) for seconds in many]}
    return Measured(wanted, figures, samples)
