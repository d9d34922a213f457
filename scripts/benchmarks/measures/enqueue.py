"""``enqueue``: one by one, and many at once; no worker runs."""

from __future__ import annotations

from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell
from benchmarks.peers.peer import Peer

_WARM = 20
_LEAST = 0.25  # of the runs: enqueueing is quick where draining is not


def measure(peer: Peer, size: Size, tell: Tell) -> Measured:
    """Enqueue, and count what waits then.

    Raises:
        BenchError: the queue does not hold exactly the runs that were enqueued.
    """
    peer.prepare()
    peer.face.calls("constant", _WARM)
    one = peer.face.calls("constant", size.one)
    tell(0.5)
    runs = max(_WARM, int(size.runs * max(peer.share, _LEAST)))
    many = [taken for _, taken in peer.enqueue("constant", runs)]
    wanted = _WARM + size.one + runs
    if peer.waiting() != wanted:
        raise BenchError(f"{peer.title}: {peer.waiting()} runs wait instead of {wanted}")
    figures = {"one_per_second": size.one / sum(one), "many_per_second": runs / sum(many)}
    samples = {"one_ms": [round(seconds * 1000, 4) for seconds in one], "call_of_1000_ms": [round(seconds * 1000, 3) for seconds in many]}
    return Measured(wanted, figures, samples)
