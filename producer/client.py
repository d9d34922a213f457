"""`Client`: enqueue runs and follow them, over a blocking connection."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, overload

from taskq.producer.express import Express
from taskq.producer.link import Link
from taskq.producer.naming import AnyTask, name_of, named
from taskq.producer.options import Given, Options, checked, refuse_key
from taskq.producer.run import Run
from taskq.registry.authoring.context import TaskContext
from taskq.registry.authoring.task import FunctionTask, Task
from taskq.registry.runs.document import read_run
from taskq.registry.runs.index import list_runs
from taskq.registry.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

P = ParamSpec("P")
R = TypeVar("R")


class Enqueuer:
    """Enqueues with given options; `Client.options` makes one."""

    def __init__(self, link: Link, options: Options) -> None:
        self._link = link
        self._options = options
        self._express = Express(link, options)

    @overload
    def enqueue(
        self, task: FunctionTask[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /, *args: P.args, **params: P.kwargs
    ) -> Run[R]: ...
    @overload
    def enqueue(self, task: FunctionTask[P, Coroutine[Any, Any, R]], /, *args: P.args, **params: P.kwargs) -> Run[R]: ...
    @overload
    def enqueue(self, task: FunctionTask[Concatenate[TaskContext, P], R], /, *args: P.args, **params: P.kwargs) -> Run[R]: ...
    @overload
    def enqueue(self, task: FunctionTask[P, R], /, *args: P.args, **params: P.kwargs) -> Run[R]: ...
    @overload
    def enqueue(self, task: str | type[Task[..., Any]], /, **params: Any) -> Run[Any]: ...
    def enqueue(self, task: Any, /, *args: Any, **params: Any) -> Run[Any]:
        """Validate the parameters and enqueue one run.

        Args:
            task: its name, a decorated function (then the parameters are typed), or a class.
            params: the task's parameters; positional ones only with a decorated function.

        Raises:
            NotFound, TaskRetired: the task accepts no runs.
            InvalidInput: the parameters don't fit its signature, or are too large. Nothing was written.
            ServerUnreachable: no answer; sending it again by hand may make a second run, unless it has a ``key``.
        """
        link = self._link
        if not args and (sent := self._express.enqueue(task, params)) is not None:
            return Run(link, sent, of=task)
        name = name_of(task)
        accepted = link.perform(link.core.enqueue(name, named(task, args, params), self._options))
        self._express.learn(name)
        return Run(link, accepted.document, deduplicated=accepted.deduplicated, of=task)

    def enqueue_many(self, task: AnyTask, params: Iterable[Mapping[str, Any]], /) -> list[Run[Any]]:
        """Validate parameters and enqueue a run for each, in their order.

        Args:
            task: as in `enqueue`. ``params``: one mapping a run.

        Raises:
            as `enqueue`; ``InvalidInput`` also where the options hold a ``key``, which stands for one run.
        """
        refuse_key(self._options)
        link = self._link
        accepted = link.perform(link.core.enqueue_many(name_of(task), list(params), self._options))
        return [Run(link, one.document, of=task) for one in accepted]


class Client(Enqueuer):
    """Enqueues runs and follows them. Threads may share one.

    Args:
        connection: a client of redis-py (without ``decode_responses``), which stays the caller's to close; None makes one
            to the server that ``settings`` name, or else to that of `taskq up`.
        settings: None for those of the environment.

    Raises:
        ServerUnreachable: no server is named or found. Nothing is connected yet.
        InvalidInput: a setting or the connection can't be used.
    """

    def __init__(self, connection: Redis | None = None, *, settings: Settings | None = None) -> None:
        super().__init__(Link(connection, settings), Options())

    @property
    def redis(self) -> Redis:
        """The connection."""
        return self._link.redis

    @property
    def settings(self) -> Settings:
        """The settings that it was made with."""
        return self._link.settings

    def options(self, **given: Unpack[Given]) -> Enqueuer:
        """The same client with options for what it enqueues; which there are is said at `Given`.

        Raises:
            InvalidInput: an option is not allowed; names the option and the value.
        """
        return Enqueuer(self._link, checked(given))

    def run(self, run: str) -> Run[Any]:
        """A run by its id; raises `NotFound` if there is none."""
        return Run(self._link, self._link.perform(read_run(self._link.keys, run)))

    def runs(self, task: str | None = None, status: str | None = None, limit: int = 200) -> list[Run[Any]]:
        """The newest runs, newest first, of one task or status if given."""
        documents = self._link.perform(list_runs(self._link.keys, task, status, limit))
        return [Run(self._link, document) for document in documents]

    def close(self) -> None:
        """Close the connection, if the client made it."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
