"""`Producer` and `AsyncProducer`: what the measures ask of a client library, with their stop-watches."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, ClassVar, NamedTuple, TypeVar

T = TypeVar("T")


class Sample(NamedTuple):
    """One run on an idle worker: when it was about to be enqueued, when it started, when its result had been read.

    On the machine's monotonic clock, in seconds.
    """

    began: float
    started: float
    returned: float


class Producer(ABC):
    """A client library that blocks.

    Keeps the handles of all that it enqueued, in their order; they are whatever the library returns.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.handles: list[Any] = []

    @abstractmethod
    def enqueue(self, job: str) -> Any:
        """Enqueue one run; returns its handle."""

    @abstractmethod
    def enqueue_many(self, job: str, count: int) -> list[Any]:
        """Enqueue so many runs as the library does it best; returns their handles."""

    @abstractmethod
    def value(self, handle: Any, timeout: float) -> Any:
        """Wait for a run's result by the library's own means; raises where it failed, or has none in time (seconds)."""

    def close(self) -> None:  # noqa: B027  # most libraries close with the process
        """Close what is open."""

    def calls(self, job: str, count: int) -> list[float]:
        """Enqueue one by one; returns the seconds that each call took."""
        taken = []
        for _ in range(count):
            began = time.perf_counter()
            handle = self.enqueue(job)
            taken.append(time.perf_counter() - began)
            self.handles.append(handle)
        return taken

    def many(self, job: str, count: int) -> tuple[float, float]:
        """Enqueue so many in one go; returns when that began (monotonic), and the seconds that it took."""
        at, began = time.monotonic(), time.perf_counter()
        handles = self.enqueue_many(job, count)
        taken = time.perf_counter() - began
        self.handles += handles
        return at, taken

    def sample(self, timeout: float) -> Sample:
        """Enqueue one run of ``now`` and wait for its result."""
        began = time.monotonic()
        handle = self.enqueue("now")
        started = self.value(handle, timeout)
        returned = time.monotonic()
        self.handles.append(handle)
        return Sample(began, started, returned)

    def values(self, first: int, count: int, step: int, timeout: float) -> list[Any]:
        """The results of ``count`` runs from the ``first`` on, each ``step``-th of them."""
        return [self.value(handle, timeout) for handle in self.handles[first : first + count : step]]


class AsyncProducer(Producer):
    """A client library of coroutines. They run on one event loop; the stop-watches are inside of it, as an application's would be.

    Attributes:
        at_once: how many calls go on at a time where a library has no call for many.
    """

    at_once: ClassVar[int] = 10

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._runner = asyncio.Runner()
        self.run(self.open())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end."""
        return self._runner.run(coroutine)

    async def open(self) -> None:
        """Connect."""

    async def shut(self) -> None:
        """Disconnect."""

    @abstractmethod
    async def send(self, job: str) -> Any:
        """As `enqueue`."""

    async def send_many(self, job: str, count: int) -> list[Any]:
        """As `enqueue_many`; by calls at once, unless the library has a call for many."""
        handles: list[Any] = []
        for at in range(0, count, self.at_once):
            handles += await asyncio.gather(*(self.send(job) for _ in range(min(self.at_once, count - at))))
        return handles

    @abstractmethod
    async def receive(self, handle: Any, timeout: float) -> Any:  # noqa: ASYNC109  # each library has its own way to wait
        """As `value`."""

    def enqueue(self, job: str) -> Any:
        return self.run(self.send(job))

    def enqueue_many(self, job: str, count: int) -> list[Any]:
        return self.run(self.send_many(job, count))

    def value(self, handle: Any, timeout: float) -> Any:
        return self.run(self.receive(handle, timeout))

    def close(self) -> None:
        self.run(self.shut())
        self._runner.close()

    def calls(self, job: str, count: int) -> list[float]:
        return self.run(self._calls(job, count))

    async def _calls(self, job: str, count: int) -> list[float]:
        taken = []
        for _ in range(count):
            began = time.perf_counter()
            handle = await self.send(job)
            taken.append(time.perf_counter() - began)
            self.handles.append(handle)
        return taken

    def sample(self, timeout: float) -> Sample:
        return self.run(self._sample(timeout))

    async def _sample(self, timeout: float) -> Sample:  # noqa: ASYNC109  # as above
        began = time.monotonic()
        handle = await self.send("now")
        started = await self.receive(handle, timeout)
        returned = time.monotonic()
        self.handles.append(handle)
        return Sample(began, started, returned)

    def values(self, first: int, count: int, step: int, timeout: float) -> list[Any]:
        return self.run(self._values(self.handles[first : first + count : step], timeout))

    async def _values(self, handles: list[Any], timeout: float) -> list[Any]:  # noqa: ASYNC109  # as above
        values: list[Any] = []
        for at in range(0, len(handles), self.at_once):
            values += await asyncio.gather(*(self.receive(handle, timeout) for handle in handles[at : at + self.at_once]))
        return values
