"""``threads`` and ``async``: runs that wait for 10 ms each, 16 at a time where they block, 500 at a time as coroutines."""

from __future__ import annotations

from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell
from benchmarks.peers.peer import COROUTINES, THREADS, Peer, Setup

_WARM = 30
_NAP = 0.0085  # 10 ms, less what a loop's clock of whole milliseconds may be off
_LONGEST = 30


def threads(peer: Peer, size: Size, tell: Tell) -> Measured:
    """With 16 slots; see `_measure`."""
    return _measure(peer, size, tell, "threads", "nap", THREADS)


def coroutines(peer: Peer, size: Size, tell: Tell) -> Measured:
    """With 500 slots; see `_measure`."""
    return _measure(peer, size, tell, "async", "doze", COROUTINES)


def _measure(peer: Peer, size: Size, tell: Tell, setup: Setup, job: str, slots: int) -> Measured:
    """Enqueue all of them on a worker that is warm and idle; each returns when it began and ended.

    All slots have been filled once before, so that no thread and no process is started while the time is taken.

    Raises:
        BenchError: a run failed, was lost, or slept for less than it should.
    """
    worker = peer.start_worker(setup)
    peer.prepare()
    peer.warm_up(_WARM)
    peer.enqueue(job, 2 * slots)
    first = _WARM + 2 * slots
    peer.wait_until_finished(first)
    tell(0.5)
    at = peer.enqueue(job, size.naps)[0][0]
    peer.wait_until_finished(first + size.naps)
    spans = peer.face.values(first, size.naps, 1, _LONGEST)
    peer.processes.retire(worker)
    if len(spans) != size.naps or any(end - began < _NAP or began < at for began, end in spans):
        raise BenchError(f"{peer.title}: of {size.naps} runs that sleep for 10 ms, some did not")
    starts, ends = [began for began, _ in spans], [end for _, end in spans]
    figures = {
        "seconds": max(ends) - at,
        "seconds_of_runs": max(ends) - min(starts),
        "at_once": float(_most(spans)),
    }
    return Measured(size.naps, figures)


def _most(spans: list[list[float]]) -> int:
    """How many of them went on at the same time, at most."""
    changes = sorted([(began, 1) for began, _ in spans] + [(end, -1) for _, end in spans])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most
