"""`TaskContext`: what a task's code is told about its run."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NoReturn

from taskq.registry import clock
from taskq.registry.authoring.duration import Duration, seconds
from taskq.registry.authoring.retry import RetryRequested
from taskq.registry.code.traces import last_line

# The context itself, or who makes it when it is asked for.
_current: ContextVar[TaskContext | Callable[[], TaskContext] | None] = ContextVar("taskq_context", default=None)


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

    def retry(self, in_: Duration | None = None, error: BaseException | str | None = None) -> NoReturn:
        """End this attempt, and have the run tried again.

        It counts against ``max`` of the task's `Retry`: a run whose retries are used up fails with reason ``error``, and so does that of
        a task which declares none. ``on`` and ``not_on`` are not asked.

        Args:
            in_: when: seconds, or text like ``"5m"``; None for the delay of the policy. ``max_delay`` and ``jitter`` are not applied to it.
            error: why, for the record of the attempt: text, or an exception, whose traceback goes to the run's log; None for the
                exception that is being handled, if there is one.

        Raises:
            RetryRequested: always. It is no `Exception`: let it pass.
            ValueError: ``in_`` is no duration.
        """
        cause = sys.exc_info()[1] if error is None else error if isinstance(error, BaseException) else None
        text = error if isinstance(error, str) else None if cause is None else last_line(cause)
        raise RetryRequested(None if in_ is None else seconds(in_), text) from cause

    @staticmethod
    def current() -> TaskContext | None:
        """The context of the run that this code executes in, or None outside of a run."""
        held = _current.get()
        return held if held is None or isinstance(held, TaskContext) else held()


def set_current(context: TaskContext | Callable[[], TaskContext] | None) -> object:
    """Make ``context``, or what it returns, the current one in this thread or asyncio task; returns the token for `reset_current`."""
    return _current.set(context)


def reset_current(token: object) -> None:
    """Undo `set_current`."""
    _current.reset(token)  # type: ignore[arg-type]  # the token is opaque to callers
