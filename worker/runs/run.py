"""`Run`: a run that this worker has claimed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec
from taskq.worker.link.lanes import ALONE, Lane


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
        blob: its parameters as stored, empty where there are none. ``params``, ``version``, ``spec``: set when it is routed.
        lane: what it may be in progress beside. ``solo``: nothing, whatever its task is: it may have crashed an executor.
        number: what its executor knows it by; 0 if none does.
        deadline: when it is late or its next stop is due, monotonic. ``stage``, ``asked``: how far its stop is, and since when.
        began: when it came to the head of an executor's inbox, monotonic; 0.0 before. ``started_at``: the same by Redis' clock.
        noted: its version was written to the job.
        stop: why it is being stopped, or None. ``why``: what was given as the reason of a cancel.
        adrift: Redis has lost its state, and this run with it: it goes on, and nobody will hear of its outcome.
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
    blob: bytes = b""
    version: int = 0
    spec: Spec | None = None
    lane: Lane = ALONE
    solo: bool = False
    number: int = 0
    deadline: float = math.inf
    stage: int = 0
    asked: float = 0.0
    began: float = 0.0
    started_at: float = 0.0
    noted: bool = False
    stop: StopReason | None = None
    breach: Breach | None = None
    why: str = ""
    adrift: bool = False

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
