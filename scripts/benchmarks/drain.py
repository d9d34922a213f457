"""``drain``: runs that wait already, until the last one's result is stored."""

from __future__ import annotations

import time

from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell
from benchmarks.peers.peer import Peer

# Results that are read through the library; the records of all are read from the server.
_READ = 200
_CALL = 1000
_FEWEST = 20


def measure(peer: Peer, size: Size, tell: Tell) -> Measured:
    """Enqueue, start the worker, wait, and read when each run ended.

    Raises:
        BenchError: not exactly the runs that were enqueued have succeeded, each once.
    """
    runs = max(_FEWEST, int(size.runs * peer.share))
    peer.prepare()
    handles = [handle for at in range(0, runs, _CALL) for handle in peer.enqueue_many("constant", min(_CALL, runs - at))]
    began = time.time()
    worker = peer.start_worker()
    peer.wait_until_finished(runs, tell)
    ended = peer.ended(handles)
    faults = [run for run in ended if not run.succeeded or run.results != 1]
    if faults or peer.finished() != runs or peer.waiting():
        found = f"{peer.finished()} have finished, {peer.waiting()} wait, {len(faults)} have not exactly one good result"
        raise BenchError(f"{peer.title}: of {runs} runs {found}")
    for handle in handles[:: max(1, runs // _READ)]:
        peer.expect(peer.result(handle, 5))
    peer.processes.retire(worker)
    first, last = min(run.at for run in ended), max(run.at for run in ended)
    figures = {
        "per_second": (runs - 1) / max(last - first, 0.001),
        "per_second_with_start": runs / (last - began),
        "first_after_s": first - began,
    }
    return Measured(runs, figures, {"seconds": [round(last - first, 3)]})
