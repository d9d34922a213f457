"""`WorkerReport` and `LoadReport`: what a worker says of itself."""

from __future__ import annotations

from typing import Literal

from taskq.registry.model.base import Stored

# Fields of a worker's hash (`keys.worker`).
STATUS_FIELD = "status"
LOAD_PREFIX = "load:"


def load_field(task: str, version: int) -> str:
    """Field of a worker's hash that holds its load report of a version."""
    return f"{LOAD_PREFIX}{task}:{version}"


class LimitsReport(Stored):
    """How a worker holds runs to their ``resources``.

    ``backend`` does it, ``enforces`` names the resources that it can limit, ``lacks`` says why it is no better one.
    """

    backend: str
    enforces: tuple[str, ...] = ()
    lacks: str = ""


class WorkerReport(Stored):
    """A worker's heartbeat; times in seconds since the epoch by Redis' clock.

    ``revision`` is the one that it has applied: each version routed there is loaded, or reported as failed.
    ``running`` counts runs, ``executors`` processes. ``skew`` is how far Redis' clock is ahead of the worker's own, in seconds;
    ``state_lost`` when the worker found that Redis had come back without its state, None if it never did.
    """

    worker: str
    host: str = ""
    pid: int = 0
    state: Literal["starting", "idle", "busy", "draining"] = "starting"
    revision: int = 0
    queues: tuple[str, ...] = ()
    executors: int = 0
    running: int = 0
    heartbeat: float = 0.0
    started_at: float = 0.0
    release: str = ""
    limits: LimitsReport | None = None
    skew: float = 0.0
    state_lost: float | None = None


class LoadReport(Stored):
    """Whether a worker has a version loaded. ``error`` is the traceback or reason of a failure, ``load_ms`` how long it took."""

    task: str
    version: int
    state: Literal["ready", "failed"]
    load_ms: float | None = None
    error: str | None = None
    at: float = 0.0
