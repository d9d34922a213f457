"""`Quota`: how many runs a worker may run, and how long it may have none."""

from __future__ import annotations

from taskq.registry import clock
from taskq.worker.runs.verdicts import Finish, Verdict


class Quota:
    """Counts what has begun.

    Args:
        most: after so many runs the worker ends; None for no end.
        max_idle: after so many seconds without a run it ends; None for never.
    """

    def __init__(self, most: int | None = None, max_idle: float | None = None) -> None:
        self._most, self.max_idle = most, max_idle
        self._ended, self._worked = 0, clock.monotonic()

    @property
    def counts(self) -> bool:
        """Whether the number of runs is limited."""
        return self._most is not None

    def count(self, verdict: Verdict) -> None:
        """A run has a verdict: what has not begun, and goes back, does not count against ``most``."""
        if isinstance(verdict, Finish) or verdict.outcome:
            self._ended += 1

    def works(self) -> None:
        """There is something to do now."""
        self._worked = clock.monotonic()

    def used_up(self) -> bool:
        """Whether all the runs that it may run have ended."""
        return self._most is not None and self._ended >= self._most

    def idle_for_too_long(self) -> bool:
        """Whether there was nothing to do for ``max_idle`` seconds."""
        return self.max_idle is not None and clock.monotonic() - self._worked >= self.max_idle

    def left(self, held: int) -> int:
        """How many further runs may be claimed while ``held`` have not ended; what goes back unbegun is made up for."""
        return (self._most or 0) - self._ended - held
