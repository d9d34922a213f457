"""`Lane` and `Lanes`: what may be in progress together in one executor. Pure; the supervisor and the executor go by the same rule.

An executor works either alone or together at a time. *Alone* is a run on the main thread, which blocks whatever else lives there.
*Together* are runs of ``async def`` tasks on the executor's one event loop, and runs on threads, each task up to its own number of slots.
"""

from __future__ import annotations

from typing import Final, NamedTuple

ASYNC: Final = "async"


class Lane(NamedTuple):
    """Where a version's runs go. An empty name means alone; ``slots`` of the same name may be in progress at once."""

    name: str
    slots: int

    @classmethod
    def of(cls, task: str, *, coroutine: bool, threads: int | None, async_slots: int) -> Lane:
        """The lane of a task.

        Args:
            task: its name: each threaded task has slots of its own.
            coroutine: it is ``async def``. ``threads``: how many of its runs may be on threads at once, None for none.
            async_slots: how many ``async def`` runs may be in progress in one executor.
        """
        if coroutine:
            return cls(ASYNC, async_slots)
        return ALONE if threads is None else cls(f"threads {task}", threads)


ALONE: Final = Lane("", 1)


class Lanes:
    """What is in progress in one executor, by lane.

    Attributes:
        total: how many runs are in progress.
        alone: whether it is one that must be alone.
    """

    __slots__ = ("_counts", "alone", "total")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self.total = 0
        self.alone = False

    def free(self, lane: Lane) -> bool:
        """Whether a run of this lane may begin now."""
        if self.alone:
            return False
        if not lane.name:
            return not self.total
        return self._counts.get(lane.name, 0) < lane.slots

    def count(self, name: str) -> int:
        """How many runs of a lane are in progress."""
        return self._counts.get(name, 0)

    def enter(self, lane: Lane) -> None:
        """A run has begun."""
        self.total += 1
        if lane.name:
            self._counts[lane.name] = self._counts.get(lane.name, 0) + 1
        else:
            self.alone = True

    def leave(self, lane: Lane) -> None:
        """It has ended."""
        self.total -= 1
        if not lane.name:
            self.alone = False
        elif self._counts[lane.name] > 1:
            self._counts[lane.name] -= 1
        else:
            del self._counts[lane.name]
