"""``convergence``: how long until a changed task is what every worker starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell, percentile
from benchmarks.peers.fleet import Taskq
from benchmarks.peers.peer import Peer
from benchmarks.processes import pause
from taskq import Client, Registry, Settings

_LOOK = 0.005
_LONGEST = 60.0
_SOURCE = """from taskq import task


@task
def changing() -> int:
    return {number}
"""


def measure(peer: Peer, size: Size, tell: Tell) -> Measured:
    """Register a task's changes, one after the other, with live workers of one executor each.

    Raises:
        BenchError: the workers don't get there, or a run after the change returns something else than its code says.
    """
    assert isinstance(peer, Taskq)  # noqa: S101  # `MEASURES` says so
    settings = Settings(redis_url=peer.server.url)
    source = peer.server.folder / "changing.py"
    workers = [peer.worker(f"worker {number}", "--executors", "1", "--name", f"w{number}") for number in range(size.workers)]
    took, spread = [], []
    with Registry(settings=settings, who="benchmark") as registry, Client(settings=settings) as client:
        _wait(peer, lambda: [row["state"] for row in registry.workers()] == ["idle"] * size.workers, "the workers are ready")
        _change(peer, registry, source, 0, size.workers)
        for number in range(1, size.changes + 1):
            seconds, since_stage = _change(peer, registry, source, number, size.workers)
            took.append(seconds * 1000)
            spread.append(since_stage * 1000)
            result = client.enqueue("changing").wait(10)
            if result != number:
                raise BenchError(f"taskq: a run after change {number} returned {result!r}")
            tell(number / size.changes)
    for worker in workers:
        peer.processes.retire(worker)
    figures = {
        "register_p50_ms": percentile(took, 0.5),
        "register_max_ms": max(took),
        "switched_p50_ms": percentile(spread, 0.5),
        "switched_max_ms": max(spread),
    }
    return Measured(size.changes, figures, {"register_ms": [round(ms, 1) for ms in took], "switched_ms": [round(ms, 1) for ms in spread]})


def _change(peer: Taskq, registry: Registry, source: Path, number: int, workers: int) -> tuple[float, float]:
    """Register one change; returns how long that took, and how long after the stage's commit each worker's record had the new route."""
    source.write_text(_SOURCE.format(number=number))
    began = time.monotonic()
    (document,) = registry.register(source, origin="benchmark")
    took = time.monotonic() - began

    def applied(row: dict[str, Any]) -> bool:
        return bool(row["state"] == "ready" and row["version"] == document["version"] and row["revision"] >= document["revision"])

    def converged() -> bool:
        rows = registry.rollout("changing")["workers"]
        return len(rows) == workers and all(map(applied, rows))

    _wait(peer, converged, f"change {number} has converged")
    seen = time.time()
    staged = next(change for change in registry.audit("changing", 2) if change["type"].endswith("staged"))
    return took, seen - datetime.fromisoformat(staged["at"]).timestamp()


def _wait(peer: Taskq, holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _LONGEST
    while not holds():
        peer.processes.check()
        if time.monotonic() > deadline:
            raise BenchError(f"taskq: not within {_LONGEST:g} s: {what}")
        pause(_LOOK)
