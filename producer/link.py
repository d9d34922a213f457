"""What a client and its runs hold on to: settings, keys, the core, and the connection that operations are driven over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from taskq.producer.core import Core
from taskq.producer.waiting import LONGEST_BLOCK
from taskq.registry.connect import connect, connect_async
from taskq.registry.effects import Op, run_async, run_sync
from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.runtime.direct import Lines
from taskq.registry.settings import Settings

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

T = TypeVar("T")
_SHARE_OF_TIMEOUT: Final = 0.5


class Base:
    """The side of a link that speaks with nobody.

    Attributes:
        settings: of the namespace. ``keys``: of the same. ``core``: the operations.
        block: how long a blocking read may take on the connection, in seconds.
    """

    def __init__(self, settings: Settings | None) -> None:
        self.settings = Settings.load() if settings is None else settings
        self.keys = Keys(self.settings.namespace, self.settings.rq_prefix)
        self.core = Core(self.settings, self.keys)
        self.block = LONGEST_BLOCK

    def _adopt(self, connection: Any) -> None:
        """Take over what the connection was made with; raises `InvalidInput` if it can't carry runs."""
        options = connection.connection_pool.connection_kwargs
        if options.get("decode_responses"):
            raise InvalidInput("connection: with decode_responses=True it can't carry runs", hint="make the connection without it")
        timeout = options.get("socket_timeout")
        if timeout:
            self.block = min(LONGEST_BLOCK, timeout * _SHARE_OF_TIMEOUT)


class Link(Base):
    """Operations over a blocking connection.

    Args:
        connection: the caller's, who closes it; None makes one by the settings.
        settings: None for those of the environment.
    """

    def __init__(self, connection: Redis | None, settings: Settings | None) -> None:
        super().__init__(settings)
        self.redis: Redis = connect(self.settings) if connection is None else connection
        self._owned = connection is None
        self._adopt(self.redis)
        self.lines = Lines(self.redis, keep=self._owned)

    def perform(self, op: Op[T]) -> T:
        """Drive an operation and return its value."""
        return run_sync(op, self.redis)

    def close(self) -> None:
        """Close the connection, if it was made here."""
        self.lines.close()
        if self._owned:
            self.redis.close()


class AsyncLink(Base):
    """Operations over an asyncio connection; the same as `Link` otherwise."""

    def __init__(self, connection: AsyncRedis | None, settings: Settings | None) -> None:
        super().__init__(settings)
        self.redis: AsyncRedis = connect_async(self.settings) if connection is None else connection
        self._owned = connection is None
        self._adopt(self.redis)

    async def perform(self, op: Op[T]) -> T:
        """As `Link.perform`."""
        return await run_async(op, self.redis)

    async def close(self) -> None:
        """As `Link.close`."""
        if self._owned:
            await self.redis.aclose()
