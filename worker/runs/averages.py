"""How long the runs of a task took of late, and how many may stand in an executor's inbox because of it."""

from __future__ import annotations

SHORT = 0.005
DEPTH = 256
# Seconds of work that may stand in one inbox: what a run behind it waits at most.
_HELD = 0.08
_WEIGHT = 0.1


class Averages:
    """Moving means of run durations by task, in seconds. A task that is not known counts as long."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def add(self, task: str, seconds: float) -> None:
        """A run of ``task`` took that long. A slow one ends the prefetch of its task at once."""
        mean = self._means.get(task)
        if mean is None or seconds > 4 * SHORT:
            self._means[task] = seconds
        else:
            self._means[task] = mean + _WEIGHT * (seconds - mean)

    def mean(self, task: str) -> float | None:
        """How long they take, None if nothing is known of them."""
        return self._means.get(task)

    def short(self, task: str) -> bool:
        """Whether runs of this task may wait in an executor's inbox."""
        return self._means.get(task, SHORT) < SHORT

    def depth(self, task: str) -> int:
        """How many runs of this task may stand in an executor's inbox: the shorter they are, the more, so that it never runs dry."""
        mean = self._means.get(task, SHORT)
        if mean >= SHORT:
            return 1
        return min(DEPTH, int(_HELD / max(mean, _HELD / DEPTH)))
