"""``outage``: Redis is away under load, and comes back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import NamedTuple

import psutil

from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell
from benchmarks.measures.stub import Stub
from benchmarks.peers.fleet import PROGRAM, Taskq
from benchmarks.peers.peer import Peer
from benchmarks.processes import Process, descendants, pause
from taskq import TaskqError

_PER_SECOND = 200
_PAUSE = 1.0
_WINDOW = 0.25
_FULL = 0.9
_STEADY = 3.0
_LONGEST = 60.0


class Client:
    """Enqueues at a steady rate from a thread, and a second after each failure again; knows which runs were acknowledged."""

    def __init__(self, peer: Taskq) -> None:
        self._face = peer.face
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._enqueue, daemon=True)
        self.failures: Counter[str] = Counter()
        self._thread.start()

    def stop(self) -> None:
        """No more."""
        self._over.set()
        self._thread.join()

    def _enqueue(self) -> None:
        while not self._over.is_set():
            try:
                self._face.calls("constant", 1)
                pause(1 / _PER_SECOND)
            except TaskqError as error:
                self.failures[type(error).__name__] += 1
                pause(_PAUSE)


class Seen(NamedTuple):
    """What an outage showed: attempts by process, seconds until the full rate, processes that exited."""

    attempts: dict[str, int]
    recovered: float
    exited: list[str]


def measure(peer: Peer, size: Size, tell: Tell) -> Measured:
    """Shut the server down under load, so that it keeps its data; count who knocks at its socket; start it again.

    Raises:
        BenchError: nothing runs before, or the full rate does not come back.
    """
    assert isinstance(peer, Taskq)  # noqa: S101  # `MEASURES` says so
    peer.prepare()
    worker = peer.worker("worker")
    scheduler = peer.processes.start("scheduler", [PROGRAM, "scheduler"], TASKQ_REDIS_URL=peer.server.url)
    peer.warm_up(10)
    client = Client(peer)
    pause(_STEADY)
    before = _rate(peer, _STEADY)
    if before < _PER_SECOND / 10:
        raise BenchError(f"taskq: {before:.0f} runs/s before the outage")
    tell(0.3)
    seen = _outage(peer, size.down, before, {"worker": worker, "scheduler": scheduler})
    tell(0.8)
    client.stop()
    acknowledged = len(peer.face.handles)
    _settle(peer, acknowledged)
    lost = acknowledged - sum(run.succeeded for run in peer.records.ended(peer.identities()))
    for process in (worker, scheduler):
        if process.running:
            peer.processes.retire(process)
    figures = {
        "before_per_second": before,
        "attempts_per_second": max(seen.attempts.values(), default=0) / size.down,
        "recovered_s": seen.recovered,
        "exited": float(len(seen.exited)),
        "lost": float(lost),
        "refused": float(sum(client.failures.values())),
    }
    notes = [
        f"connection attempts in {size.down:g} s: {', '.join(f'{name} {count}' for name, count in sorted(seen.attempts.items()))}",
        f"the client was refused with {dict(client.failures)}",
    ]
    return Measured(acknowledged, figures, notes=notes + [f"{name} exited" for name in seen.exited])


def _outage(peer: Taskq, seconds: float, before: float, processes: dict[str, Process]) -> Seen:
    """Take the server away for so long, and wait for the full rate."""
    named = {psutil.Process().pid: "client"} | {process.pid: name for name, process in processes.items()}
    named |= {below.pid: f"{name}'s child {below.pid}" for name, process in processes.items() for below in descendants(process.pid)}
    peer.server.shut_down()
    with Stub(peer.server.socket) as stub:
        pause(seconds)
        attempts = Counter(stub.attempts)
    exited = [name for name, process in processes.items() if not process.running]
    peer.server.start()
    back = time.monotonic()
    while _rate(peer, _WINDOW) < _FULL * min(before, _PER_SECOND):
        if time.monotonic() - back > _LONGEST:
            raise BenchError(f"taskq: not at its full rate {_LONGEST:g} s after the outage")
    return Seen({named.get(pid, f"process {pid}"): count for pid, count in attempts.items()}, time.monotonic() - back, exited)


def _rate(peer: Taskq, seconds: float) -> float:
    began, before = time.monotonic(), peer.finished()
    pause(seconds)
    return (peer.finished() - before) / (time.monotonic() - began)


def _settle(peer: Taskq, runs: int) -> None:
    """Wait for all that was acknowledged; what does not come is counted by the caller."""
    deadline = time.monotonic() + _LONGEST
    while peer.finished() < runs and time.monotonic() < deadline:
        pause(_WINDOW)
