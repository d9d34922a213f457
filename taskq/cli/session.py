"""What a command works with: settings, keys, a connection, and the registry and client on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import redis

# As packages: `Registry` and `Client` are loaded when a command first asks for them, not by every command.
from taskq import producer, registry
from taskq.cli.configuration import settings_of
from taskq.cli.options import Options
from taskq.registry.connect import connect
from taskq.registry.effects import Arg, Command, Op, run_sync, translate
from taskq.registry.errors import TaskqError
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

T = TypeVar("T")


class Session:
    """One command's way to Redis; each part is made when it is first used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace, settings.rq_prefix)

    @cached_property
    def redis(self) -> redis.Redis:
        """The connection."""
        return connect(self.settings)

    @cached_property
    def registry(self) -> registry.Registry:
        """The registry on this connection."""
        return registry.Registry(self.redis, settings=self.settings)

    @cached_property
    def client(self) -> producer.Client:
        """The client on this connection."""
        return producer.Client(self.redis, settings=self.settings)

    def perform(self, op: Op[T]) -> T:
        """The value of an operation."""
        return run_sync(op, self.redis)

    def ask(self, name: str, *args: Arg) -> Any:
        """The reply to one Redis command."""
        return self.perform(_single(Command(name, *args)))

    def close(self) -> None:
        """Give the connection back."""
        if "redis" in self.__dict__:
            self.redis.close()


def _single(command: Command) -> Op[Any]:
    return (yield command)


@contextmanager
def session(options: Options, **explicit: Any) -> Iterator[Session]:
    """A session for the body of a command; an error of the connection becomes `ServerUnreachable`.

    Raises:
        InvalidInput: a setting is not allowed.
    """
    opened = Session(settings_of(options, **explicit))
    try:
        yield opened
    except redis.RedisError as error:
        meant = translate(error)
        raise meant if isinstance(meant, TaskqError) else TaskqError(f"Redis answered with an error: {error}") from error
    finally:
        opened.close()
