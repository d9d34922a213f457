"""What the ways to hold a run to its limits have in common: a `Backend`, and its `Cell` for each executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from taskq.registry.authoring.size import written
from taskq.registry.model.resources import Resources
from taskq.worker.runs.run import Breach

OnBreach = Callable[[Breach], None]


class Cell(Protocol):
    """The place of one executor. Only `begin` may fail; the others may be called at any time, again and again."""

    def begin(self, limits: Resources, on_breach: OnBreach) -> None:
        """A run is about to be sent to it. ``on_breach`` is called where a limit can only be held by a kill of the executor.

        Raises:
            OSError: the limits can't be set.
        """

    def end(self) -> None:
        """The run has ended: what it left behind is killed, and the limits are lifted."""

    def breach(self, returncode: int) -> Breach | None:
        """The executor died during a run: which limit it died of, None if of none."""

    def remove(self) -> bool:
        """The executor is dead: kill what it left behind, and take the cell away; False if that needs another try."""


class Backend(Protocol):
    """One way to hold runs to their limits.

    Attributes:
        name: what the worker's report calls it. ``enforces``: the names of the resources that it can limit.
        lacks: why it is no better one; '' if nothing is lacking.
    """

    name: str
    enforces: tuple[str, ...]
    lacks: str

    def cell(self, pid: int) -> Cell:
        """A place for an executor. With control groups it takes some 20 ms, and so is best called on a thread.

        Raises:
            OSError: it can't be made.
        """

    def close(self) -> bool:
        """Every executor is dead: leave nothing behind; False if that needs another try."""


def out_of_memory(limits: Resources) -> Breach:
    """The executor was killed because the run used more memory than it may."""
    return Breach("oom", f"the run used more memory than its limit of {written(limits.memory or 0)}; its executor was killed")


def too_many(found: int, limit: int) -> Breach:
    """The executor was killed because the run had more processes than it may."""
    return Breach("killed", f"the run had at least {found} processes and threads, above its limit of {limit} pids; all were killed")
