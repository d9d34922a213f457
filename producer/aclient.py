"""`AsyncClient`: enqueue runs and follow them, over an asyncio connection. What is not said here is as in `Client`."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, overload

from taskq.producer.link import AsyncLink
from taskq.producer.naming import AnyTask, name_of, named
from taskq.producer.options import Given, Options, checked, refuse_key
from taskq.producer.run import AsyncRun
from taskq.registry.authoring.context import TaskContext
from taskq.registry.authoring.task import FunctionTask, Task
from taskq.registry.runs.document import read_run
from taskq.registry.runs.index import list_runs
from taskq.registry.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis

P = ParamSpec("P")
R = TypeVar("R")


class AsyncEnqueuer:
    """Enqueues with given options; `AsyncClient.options` makes one."""

    def __init__(self, link: AsyncLink, options: Options) -> None:
        self._link = link
        self._options = options

    @overload
    async def enqueue(
        self, task: FunctionTask[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /, *args: P.args, **params: P.kwargs
    ) -> AsyncRun[R]: ...
    @overload
    async def enqueue(self, task: FunctionTask[P, Coroutine[Any, Any, R]], /, *args: P.args, **params: P.kwargs) -> AsyncRun[R]: ...
    @overload
    async def enqueue(self, task: FunctionTask[Concatenate[TaskContext, P], R], /, *args: P.args, **params: P.kwargs) -> AsyncRun[R]: ...
    @overload
    async def enqueue(self, task: FunctionTask[P, R], /, *args: P.args, **params: P.kwargs) -> AsyncRun[R]: ...
    @overload
    async def enqueue(self, task: str | type[Task[..., Any]], /, **params: Any) -> AsyncRun[Any]: ...
    async def enqueue(self, task: Any, /, *args: Any, **params: Any) -> AsyncRun[Any]:
        """As `Client.enqueue`."""
        link = self._link
        accepted = await link.perform(link.core.enqueue(name_of(task), named(task, args, params), self._options))
        return AsyncRun(link, accepted.document, deduplicated=accepted.deduplicated, of=task)

    async def enqueue_many(self, task: AnyTask, params: Iterable[Mapping[str, Any]], /) -> list[AsyncRun[Any]]:
        """As `Client.enqueue_many`."""
        refuse_key(self._options)
        link = self._link
        accepted = await link.perform(link.core.enqueue_many(name_of(task), list(params), self._options))
        return [AsyncRun(link, one.document, of=task) for one in accepted]


class AsyncClient(AsyncEnqueuer):
    """Enqueues runs and follows them; belongs to one event loop.

    Args:
        connection: a client of ``redis.asyncio`` (without ``decode_responses``), which stays the caller's to close; None
            makes one. ``settings``: as in `Client`.
    """

    def __init__(self, connection: Redis | None = None, *, settings: Settings | None = None) -> None:
        super().__init__(AsyncLink(connection, settings), Options())

    @property
    def redis(self) -> Redis:
        """The connection."""
        return self._link.redis

    @property
    def settings(self) -> Settings:
        """The settings that it was made with."""
        return self._link.settings

    def options(self, **given: Unpack[Given]) -> AsyncEnqueuer:
        """As `Client.options`."""
        return AsyncEnqueuer(self._link, checked(given))

    async def run(self, run: str) -> AsyncRun[Any]:
        """As `Client.run`."""
        return AsyncRun(self._link, await self._link.perform(read_run(self._link.keys, run)))

    async def runs(self, task: str | None = None, status: str | None = None, limit: int = 200) -> list[AsyncRun[Any]]:
        """As `Client.runs`."""
        documents = await self._link.perform(list_runs(self._link.keys, task, status, limit))
        return [AsyncRun(self._link, document) for document in documents]

    async def close(self) -> None:
        """As `Client.close`."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
