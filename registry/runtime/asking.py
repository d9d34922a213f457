"""Commands that are sent together, again and again, on a connection that is kept for them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from taskq.registry import clock

_FRESH: Final = 5.0
"""Seconds after its last use for which a kept connection is believed to be open: a server may close one that is idle for longer."""


class Asker:
    """Asks a server, one question at a time, without what redis-py's pipeline does before it sends and after it has read.

    An idle process pays for that with cold caches: it is a fifth of the time from a run's arrival to its start.

    Args:
        client: of redis-py, whose retries and connections these are; it is closed with its owner.
    """

    def __init__(self, client: Redis) -> None:
        self._pool: Any = client.connection_pool
        self._connection: Any = None
        self._used = 0.0

    async def ask(self, *commands: Sequence[Any]) -> list[Any]:
        """Send commands together; returns their replies, an error of the server's in place of the reply that it is.

        Raises:
            RedisError: the connection is no more; which of the commands were executed is not known.
        """
        connection = await self._fresh()
        try:
            packed = b"".join(piece for command in commands for piece in connection.pack_command(*command))
            await connection.send_packed_command(packed, check_health=False)
            replies: list[Any] = []
            for _ in commands:
                try:
                    replies.append(await connection.read_response())
                except ResponseError as error:
                    replies.append(error)
        except BaseException:  # replies that were not read must not be taken for those of the next question
            await self._drop(disconnect=True)
            raise
        self._used = clock.monotonic()
        return replies

    async def _fresh(self) -> Any:
        if self._connection is not None and clock.monotonic() - self._used > _FRESH:
            await self._drop(disconnect=False)
        if self._connection is None:
            self._connection = await self._pool.get_connection()  # which looks whether it is open
        return self._connection

    async def _drop(self, *, disconnect: bool) -> None:
        connection, self._connection = self._connection, None
        with contextlib.suppress(RedisError, OSError):
            if disconnect:
                await connection.disconnect(nowait=True)
            await self._pool.release(connection)
