"""`Run`: a run that this worker has claimed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec



class Breach(NamedTuple):
    """The limit of ``resources`` that a run died of: the ``reason`` of its failure, and the ``error`` to tell."""

    reason: Literal["oom", "killed"]
    error: str


StopReason = Literal["timeout", "cancel", "shutdown", "lost"]


@dataclass(slots=True, eq=False)
class Run:
    """One claimed run and how far it is.

    Attributes:
        id, token: the run and the fencing token of its lease.
        queue: its queue, ``origin`` RQ's name of it. ``task``: its task.
        attempt: 1 for the first. ``losses``: how many attempts before this one ended by death of worker or executor.
        retries: how many before this one failed and were followed by another one.
        data: its payload as stored. ``pin``: the version that it was enqueued for, or None.
        limit: timeout that it was enqueued with, in seconds, or None.
        claimed_at: by Redis' clock.
        params, version, spec: set when it is routed.
        began: when it came to the head of an executor's inbox, monotonic; 0.0 before. ``started_at``: the same by Redis' clock.
        noted: its version was written to the job.
        stop: why it is being stopped, or None. ``why``: what was given as the reason of a cancel.
        breach: the limit that it died of, or None.
    """

    id: str
    token: str
    queue: str
    origin: str
    task: str
    attempt: int
    data: bytes
    pin: int | None = None
    limit: float | None = None
    cause: str | None = None
    losses: int = 0
    retries: int = 0
    claimed_at: float = 0.0
    params: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    spec: Spec | None = None
    began: float = 0.0
    started_at: float = 0.0
    noted: bool = False
    stop: StopReason | None = None
    breach: Breach | None = None
    why: str = ""

    @property
    def timeout(self) -> float:
        """Seconds that it may take."""
        if self.limit is not None:
            return self.limit
        return self.spec.timeout if self.spec else math.inf

    @property
    def grace(self) -> float:
        """Seconds that it then has to stop."""
        return self.spec.grace if self.spec else 0.0

    def order(self, *, max_result: int, max_log: int) -> dict[str, Any]:
        """The body of its RUN: what an executor is told. The limits are in bytes and lines."""
        return {
            "task": self.task,
            "version": self.version,
            "run": self.id,
            "attempt": self.attempt,
            "queue": self.queue,
            "cause": self.cause,
            "params": self.params,
            "timeout": self.timeout,
            "max_result": max_result,
            "max_log": max_log,
        }


def claimed_runs(reply: Sequence[Any], queues: Sequence[str], keys: Keys) -> list[Run]:
    """The runs in a reply of ``claim.lua``; ``queues`` are those that it was asked for, in their order."""
    return [_claimed(fields, queues, keys, reply[1] / 1000) for fields in reply[2:]]


def _claimed(fields: Sequence[Any], queues: Sequence[str], keys: Keys, now: float) -> Run:
    index, run, token, attempt, task, data, pin, limit, cause, losses = fields
    queue = queues[index - 1]
    return Run(
        id=run.decode(),
        token=token.decode(),
        queue=queue,
        origin=keys.queue_name(queue),
        task=task.decode("utf-8", "replace"),
        attempt=int(attempt),
        data=data,
        pin=_whole(pin),
        limit=float(limit) if limit else None,
        cause=cause.decode("utf-8", "replace") if cause else None,
        losses=_whole(losses) or 0,
        claimed_at=now,
    )


def _whole(text: bytes) -> int | None:
    return int(text) if text.isdigit() else None
