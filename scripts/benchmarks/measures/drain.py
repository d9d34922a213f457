"""``drain``: runs that wait already, until the last one has ended."""

from __future__ import annotations

import time

from benchmarks.measured import Measured, Size, Tell
from benchmarks.peers.peer import Peer

_FEWEST = 20


def measure(peer: Peer, size: Size, tell: Tell) -> Measured:
    """Enqueue, start the worker, and look again and again how many have ended.

    Raises:
        BenchError: not exactly the runs that were enqueued have succeeded, each once.
    """
    runs = max(_FEWEST, int(size.runs * peer.share))
    peer.prepare()
    peer.enqueue("constant", runs)
    began = time.monotonic()
    worker = peer.start_worker()
    seen = peer.wait_until_finished(runs, tell)
    peer.check(runs)
    peer.processes.retire(worker)
    # From the first look that saw some; where that saw most of them already, all there is to go by is the start.
    counted, since = (runs - seen.first, seen.first_at) if seen.first < runs / 2 else (runs, began)
    figures = {
        "per_second": counted / (seen.last_at - since),
        "per_second_with_start": runs / (seen.last_at - began),
        "first_after_s": seen.first_at - began,
    }
    return Measured(runs, figures, {"seconds": [round(seen.last_at - since, 3)]})
