"""How long the runs of a task took of late, and how many may stand in an executor's inbox because of it."""

from __future__ import annotations

SHORT = 0.005
DEPTH = 16
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

    def short(self, task: str) -> bool:
        """Whether runs of this task may wait in an executor's inbox."""
        return self._means.get(task, SHORT) < SHORT

    def forget(self, task: str) -> None:
        """Its code changed, or it is gone."""
        self._means.pop(task, None)
