"""`Plan`: what a worker is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from taskq.worker.pool.recycling import Wear


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker is started with; see `FleetWorker`.

    Attributes:
        executors: how many at least. ``most_executors``: how many at most; as many as at least if None.
        max_jobs: it ends after so many runs. ``max_idle``: after so many seconds without one. None for neither.
        grace: what runs in progress have once it drains, in seconds; None for the longest of their own, 10 s at least.
    """

    worker: str
    queues: tuple[str, ...]
    executors: int
    most_executors: int | None = None
    burst: bool = False
    max_jobs: int | None = None
    max_idle: float | None = None
    strategy: str = "ordered"
    grace: float | None = None
    health: Path | None = None
    wear: Wear = field(default_factory=Wear)
    dedicated: bool = False
