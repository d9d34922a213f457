"""`Retry`: how often and how soon a failed run is tried again; and how a task's code asks for it itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from taskq.registry.authoring.duration import Duration

Kind = type[BaseException] | str
"""An exception, by its class or its name."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy.

    A run that fails is tried again on the version that its task then has, after a delay. Attempts that were lost with their worker or
    executor are no failures: they follow ``on_lost``, and use up none of ``max``.

    Args:
        max: how many further attempts there may be after failures, 0 (none) to 1000.
        backoff: how the delay grows: ``"fixed"`` (it does not), ``"linear"`` (with the number of the retry) or ``"exponential"`` (it
            doubles).
        delay: the delay before the first retry, at most ``max_delay``; 0 for none.
        max_delay: the longest delay that the policy gives. ``ctx.retry(in_=…)`` may ask for a longer one.
        jitter: share of the delay, 0 to 1, by which it differs from run to run, up or down, so that what failed together does not
            come back together.
        on: what is retried; empty for all. Exceptions as classes or names (``ValueError``, ``"requests.Timeout"``), a base class stands for
            all that are derived from it; and the reasons ``"error"``, ``"timeout"``, ``"oom"`` and ``"killed"``. Other reasons are never
            retried, and are refused here.
        not_on: what is never retried, as ``on``; it wins over ``on``.

    Nothing is checked here: a value that is not allowed is refused when the task is registered.
    """

    max: int = 0
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    delay: Duration = 1.0
    max_delay: Duration = 300.0
    jitter: float = 0.1
    on: Kind | Iterable[Kind] = ()
    not_on: Kind | Iterable[Kind] = ()

    def options(self) -> dict[str, Any]:
        """The policy as a plain mapping, as it was written."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class RetryRequested(BaseException):
    """The run asks to be tried again; see `TaskContext.retry`. Not an `Exception`, so that ``except Exception`` lets it pass.

    Attributes:
        delay: in how many seconds, None: as the task's policy says.
        error: why, in one line, or None.
    """

    def __init__(self, delay: float | None = None, error: str | None = None) -> None:
        super().__init__(error or "the task asked to be tried again")
        self.delay, self.error = delay, error
