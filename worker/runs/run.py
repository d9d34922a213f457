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
# Fields of the shortest row of a claim.
_SHORT = 5


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
        lane: what it may be in progress beside. ``solo``: nothing, whatever its task is: it may have crashed an
            executor, or has limits of resources.
        number: what its executor knows it by; 0 if none does.
        deadline: when it is late or its next stop is due, monotonic. ``stage``, ``asked``: how far its stop is, and since when.
        began: when it came to the head of an executor's inbox, monotonic; 0.0 before. ``started_at``: the same by Redis' clock.
        took: how long its executor said that it took, in seconds, or None.
        noted: its version and RQ's execution of it were written, or are on their way. ``told``: so was the event of its start.
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
    took: float | None = None
    noted: bool = False
    told: bool = False
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

    @property
    def about(self) -> dict[str, Any]:
        """What a line of the worker's log says of it besides its text: ``extra`` of the record."""
        return {"run": self.id, "task": self.task, "version": self.version or None}


def claimed_runs(reply: Sequence[Any], queues: Sequence[str], keys: Keys) -> list[Run]:
    """The runs in a reply of ``claim.lua``; ``queues`` are those that it was asked for, in their order."""
    now, origins, tasks = reply[1] / 1000, [keys.queue_name(queue) for queue in queues], dict[bytes, str]()
    runs = []
    for fields in reply[3:]:
        index, run, token, task, data = fields[:_SHORT]
        name = tasks.get(task)
        if name is None:
            name = tasks[task] = task.decode("utf-8", "replace")
        made = Run(run.decode(), token.decode(), queues[index - 1], origins[index - 1], name, 1, data, claimed_at=now)
        if len(fields) > _SHORT:
            _complete(made, fields[_SHORT:])
        runs.append(made)
    return runs


def _complete(run: Run, fields: Sequence[bytes]) -> None:
    """What is to be said only of runs that are no simple first attempt."""
    attempt, pin, limit, cause, losses, retries = fields
    run.attempt = int(attempt)
    run.pin = _whole(pin)
    run.limit = float(limit) if limit else None
    run.cause = cause.decode("utf-8", "replace") if cause else None
    run.losses = _whole(losses) or 0
    run.retries = _whole(retries) or 0


def _whole(text: bytes) -> int | None:
    return int(text) if text.isdigit() else None
