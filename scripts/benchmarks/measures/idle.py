"""``idle``: how much memory a worker takes that has worked and waits."""

from __future__ import annotations

from benchmarks.measured import Measured, Size, Tell
from benchmarks.memory import pss_mib
from benchmarks.peers.peer import Peer
from benchmarks.processes import pause

_WARM = 30


def measure(peer: Peer, size: Size, tell: Tell) -> Measured:
    """Have it execute some runs, leave it alone, and add up the proportional set sizes of all its processes.

    Raises:
        BenchError: it does not come up, or a run goes wrong.
    """
    worker = peer.start_worker()
    peer.prepare()
    peer.warm_up(_WARM)
    tell(0.5)
    pause(size.idle)
    parts = pss_mib(worker.pid)
    peer.processes.retire(worker)
    return Measured(_WARM, {"pss_mib": sum(parts), "processes": len(parts)}, {"pss_mib": [round(part, 2) for part in parts]})
