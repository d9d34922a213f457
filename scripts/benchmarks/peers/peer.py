"""`Peer`: what the measures ask of a task queue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from benchmarks.errors import BenchError
from benchmarks.measured import Tell
from benchmarks.processes import Process, Processes, pause
from benchmarks.server import Server

Job = Literal["constant", "now"]
"""``constant`` returns `CONSTANT`, ``now`` the monotonic time at which it started."""

CONSTANT = 7
_READY_WITHIN = 60.0
_LOOK = 0.02


class Ended(NamedTuple):
    """What the peer has recorded of a run: whether it succeeded, how many results it has, when the last one was recorded.

    ``at`` is in seconds since the epoch.
    """

    succeeded: bool
    results: int
    at: float


class Peer(ABC):
    """One task queue on one server, which is empty at first and its own.

    Handles are whatever ``enqueue`` of the library returns.

    Attributes:
        title: for people. ``share``: of the runs of a drain, so that a slow one takes no longer than a fast one.
        distributions: whose versions are noted. ``command``: how its worker is started, for people.
    """

    title: ClassVar[str]
    share: ClassVar[float]
    distributions: ClassVar[tuple[str, ...]]
    command: ClassVar[str]

    def __init__(self, server: Server, processes: Processes) -> None:
        self.server, self.processes = server, processes

    @abstractmethod
    def prepare(self) -> None:
        """Make both jobs known."""

    @abstractmethod
    def start_worker(self) -> Process:
        """Start one worker with its defaults; returns at once."""

    @abstractmethod
    def enqueue(self, job: Job) -> Any:
        """Enqueue one run; returns its handle."""

    @abstractmethod
    def enqueue_many(self, job: Job, count: int) -> list[Any]:
        """Enqueue so many runs as the library does it best; returns their handles."""

    @abstractmethod
    def waiting(self) -> int:
        """How many runs are queued."""

    @abstractmethod
    def finished(self) -> int:
        """How many runs have succeeded; cheap, as it is asked again and again while they are being counted."""

    @abstractmethod
    def ended(self, handles: Sequence[Any]) -> list[Ended]:
        """What is recorded of runs that have ended."""

    @abstractmethod
    def result(self, handle: Any, timeout: int) -> Any:
        """Wait for a run's result by the library's own means.

        Args:
            timeout: how long at most, in seconds.

        Raises:
            BenchError: it failed, or there was none in time.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the client side's connections."""

    # -- what is the same for all --------------------------------------------------------------------------
    def warm_up(self, runs: int) -> None:
        """Have a worker that was just started execute some runs, one after the other."""
        self.enqueue("constant")
        self.wait_until_finished(1)  # sees a worker that does not come up
        for _ in range(runs - 1):
            self.expect(self.result(self.enqueue("constant"), int(_READY_WITHIN)))

    def wait_until_finished(self, count: int, tell: Tell | None = None, within: float = 60.0) -> None:
        """Until so many runs have succeeded.

        Args:
            tell: is told how far it is. ``within``: how long nothing may move, in seconds.

        Raises:
            BenchError: nothing moved, or a process died.
        """
        before, still = -1, 0.0
        while (now := self.finished()) < count:
            self.processes.check()
            still = 0.0 if now != before else still + _LOOK
            if still > within:
                raise BenchError(f"{self.title}: {now} of {count} runs have finished, and none for {within:g} s")
            before = now
            if tell is not None:
                tell(now / count)
            pause(_LOOK)

    @staticmethod
    def expect(result: Any) -> None:
        """Raise `BenchError` unless it is what ``constant`` returns."""
        if result != CONSTANT:
            raise BenchError(f"a run returned {result!r} instead of {CONSTANT}")
