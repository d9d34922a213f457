"""`Peer`: what the measures ask of a task queue."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from benchmarks.errors import BenchError
from benchmarks.measured import Tell
from benchmarks.processes import Process, Processes, pause
from benchmarks.server import Server

Setup = Literal["default", "threads", "async"]
"""How a worker is started: as the peer's row says; with 16 slots for what blocks; with 500 for coroutines."""


class Way(NamedTuple):
    """How a worker is started: in words for people; its command line and what is added to its environment, where its class needs them."""

    text: str
    argv: tuple[str, ...] = ()
    environ: Mapping[str, str] = MappingProxyType({})


Ways = Mapping[Setup, Way]


class Seen(NamedTuple):
    """How runs ended: how many had when the first were seen, when that was, and when all had (monotonic, in seconds)."""

    first: int
    first_at: float
    last_at: float


CONSTANT = 7
THREADS = 16
COROUTINES = 500
_READY_WITHIN = 60.0
_LOOK = 0.01
_CALL = 1000


class Face(Protocol):
    """The client side: `benchmarks.clients.producer.Producer`, in this process or spoken to. Jobs are those of ``jobs/bench_jobs.py``."""

    def calls(self, job: str, count: int) -> list[float]:
        """Enqueue one by one; the seconds of each call."""

    def many(self, job: str, count: int) -> Sequence[float]:
        """Enqueue in one call; when it began (monotonic), and the seconds that it took."""

    def sample(self, timeout: float) -> Sequence[float]:
        """One run of ``now``: when it was about to be enqueued, when it started, when its result had been read (monotonic)."""

    def values(self, first: int, count: int, step: int, timeout: float) -> list[Any]:
        """The results of each ``step``-th of ``count`` runs from the ``first`` on, in the order in which they were enqueued."""

    def close(self) -> None:
        """Close what is open."""


class Peer(ABC):
    """One task queue in one configuration, on one server, which is empty at first and its own.

    Attributes:
        title: for people. ``share``: of the runs of a drain, so that a slow one takes no longer than a fast one.
        stores: whether results are stored. ``measures``: those that it takes part in; None for all that its ``setups`` allow.
        setups: how its worker is started for each.
    """

    title: ClassVar[str]
    share: ClassVar[float]
    stores: ClassVar[bool] = True
    measures: ClassVar[frozenset[str] | None] = None
    setups: ClassVar[Ways]

    def __init__(self, server: Server, processes: Processes) -> None:
        self.server, self.processes = server, processes
        self.face = self.connect()

    @classmethod
    @abstractmethod
    def versions(cls, environments: Path) -> dict[str, str]:
        """Of its distributions, by name.

        Args:
            environments: folder of the peers' virtual environments.
        """

    @abstractmethod
    def connect(self) -> Face:
        """The client side."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the jobs known."""

    @abstractmethod
    def start_worker(self, setup: Setup = "default") -> Process:
        """Start one worker; returns at once."""

    @abstractmethod
    def waiting(self) -> int:
        """How many runs are queued."""

    @abstractmethod
    def finished(self) -> int:
        """How many runs have ended; cheap, as it is asked again and again while they are being counted."""

    @abstractmethod
    def check(self, runs: int) -> None:
        """Raise `BenchError` unless exactly so many runs have succeeded, each with one good result as far as the peer stores them."""

    def close(self) -> None:
        """Close the client side."""
        self.face.close()

    # -- what is the same for all --------------------------------------------------------------------------
    def enqueue(self, job: str, count: int) -> list[tuple[float, float]]:
        """Enqueue many in calls of 1,000; returns when each call began (monotonic), and its seconds."""
        return [(at, taken) for at, taken in (self.face.many(job, size) for size in _parts(count))]

    def warm_up(self, runs: int) -> None:
        """Have a worker that was just started execute the first runs of all, one after the other."""
        for run in range(runs):
            self.face.calls("constant", 1)
            if run == 0 or not self.stores:
                self.wait_until_finished(run + 1)  # sees a worker that does not come up
            if self.stores:
                self.expect(self.face.values(run, 1, 1, _READY_WITHIN))

    def wait_until_finished(self, count: int, tell: Tell | None = None, within: float = 60.0) -> Seen:
        """Until so many runs have ended; looks each 10 ms.

        Args:
            tell: is told how far it is. ``within``: how long nothing may move, in seconds.

        Raises:
            BenchError: nothing moved, or a process died.
        """
        first: tuple[int, float] | None = None
        before, moved = -1, time.monotonic()
        while True:
            now, at = self.finished(), time.monotonic()
            if now and first is None:
                first = now, at
            if now >= count:
                return Seen(*(first or (now, at)), at)
            self.processes.check()
            moved = at if now != before else moved
            if at - moved > within:
                raise BenchError(f"{self.title}: {now} of {count} runs have finished, and none for {within:g} s")
            before = now
            if tell is not None:
                tell(now / count)
            pause(_LOOK)

    def expect(self, results: Sequence[Any]) -> None:
        """Raise `BenchError` unless each is what ``constant`` returns."""
        for result in results:
            if result != CONSTANT:
                raise BenchError(f"{self.title}: a run returned {result!r} instead of {CONSTANT}")


def _parts(count: int) -> Iterator[int]:
    return (min(_CALL, count - at) for at in range(0, count, _CALL))
