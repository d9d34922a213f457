"""`TaskContext`: what a task's code is told about its run."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass, field

from taskq.registry import clock

_current: ContextVar[TaskContext | None] = ContextVar("taskq_context", default=None)


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The run that is being executed.

    Attributes:
        run: the run's id.
        task: the task's name.
        version: the version whose code runs.
        attempt: 1 for the first attempt.
        queue: the queue that the run came from.
        cause: what caused the run (an event's id), or None.
        deadline: when the timeout strikes, on `time.monotonic`'s clock of this process; None without timeout.
        log: a logger whose lines go to the run's log.
    """

    run: str
    task: str
    version: int
    attempt: int = 1
    queue: str = "default"
    cause: str | None = None
    deadline: float | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("taskq.task"))

    def remaining(self) -> float | None:
        """Seconds until the timeout, never negative; None without timeout."""
        return None if self.deadline is None else max(0.0, self.deadline - clock.monotonic())

    @staticmethod
    def current() -> TaskContext | None:
        """The context of the run that this code executes in, or None outside of a run."""
        return _current.get()


def set_current(context: TaskContext | None) -> object:
    """Make ``context`` the current one in this thread or asyncio task; returns the token for `reset_current`."""
    return _current.set(context)


def reset_current(token: object) -> None:
    """Undo `set_current`."""
    _current.reset(token)  # type: ignore[arg-type]  # the token is opaque to callers
