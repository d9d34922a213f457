"""Commands that are sent together, again and again, on a connection that is kept for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeout

from taskq.registry import clock

_FRESH: Final = 5.0
"""Seconds after its last use for which a kept connection is believed to be open: a server may close one that is idle for longer."""

_LOST: Final = "the server has closed the connection"


class Replies(asyncio.Protocol):
    """Reads a connection of redis-py's while a question is under way: replies are handed over in the step in which they arrive.

    Args:
        connection: of redis-py, connected, with nothing unread; what else happens to it than data is passed on to its own protocol.
        answered: as in `Asker`.
    """

    def __init__(self, connection: Any, answered: Callable[[list[Any]], None]) -> None:
        self._transport: Any = connection._writer.transport
        self._former: Any = self._transport.get_protocol()
        self._answered = answered
        self._reader = hiredis.Reader(replyError=connection._parser.parse_error)
        self._replies: list[Any] = []
        self._awaited = 0
        self._whole: asyncio.Future[list[Any]] | None = None
        self._transport.set_protocol(self)

    def put_back(self) -> None:
        """The connection is redis-py's again."""
        self._transport.set_protocol(self._former)

    async def to(self, packed: bytes, count: int, within: float | None) -> list[Any]:
        """Send commands; returns their ``count`` replies, which came ``within`` so many seconds.

        Raises:
            RedisError: there is no connection any more, or not all replies came in time. What ``answered`` raises is raised as well.
        """
        if self._transport.is_closing():
            raise ConnectionLost(_LOST)
        self._whole, self._awaited = asyncio.get_running_loop().create_future(), count
        self._transport.write(packed)
        try:
            async with asyncio.timeout(within) as limit:
                return await self._whole
        except TimeoutError:
            if not limit.expired():
                raise
            raise RedisTimeout("the server did not answer in time") from None
        finally:
            self._whole = None

    # -- asyncio.Protocol ----------------------------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if not isinstance(reply, hiredis.PushNotification):
                    self._replies.append(reply)
        except hiredis.ProtocolError as error:
            self._end(ConnectionLost(f"the server sent what is no reply: {error}"))
            self._transport.abort()
            return
        if len(self._replies) >= self._awaited and self._whole is not None and not self._whole.done():
            replies, self._replies = self._replies, []
            self._hand_over(replies, self._whole)

    def _hand_over(self, replies: list[Any], whole: asyncio.Future[list[Any]]) -> None:
        lost = next((reply for reply in replies if isinstance(reply, ConnectionLost)), None)
        try:
            if lost is not None:
                raise lost
            self._answered(replies)
        except Exception as error:  # noqa: BLE001  # it is raised where the question was asked
            whole.set_exception(error)
        else:
            whole.set_result(replies)

    def _end(self, error: Exception) -> None:
        if self._whole is not None and not self._whole.done():
            self._whole.set_exception(error)

    def eof_received(self) -> bool | None:
        self._end(ConnectionLost(_LOST))
        passed_on: bool | None = self._former.eof_received()
        return passed_on

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionLost(str(exc) if exc else _LOST))
        self._former.connection_lost(exc)

    def pause_writing(self) -> None:
        self._former.pause_writing()

    def resume_writing(self) -> None:
        self._former.resume_writing()


class Asker:
    """Asks a server, one question at a time, without what redis-py does before it sends and after it has read.

    An idle process pays for that with cold caches: together with the turns of the loop between a reply and who waits for it, it is a
    fifth of the time from a run's arrival to its start.

    Args:
        client: of redis-py, whose connections these are; it is closed with its owner.
        answered: is given the replies in the step in which the last one arrived, ahead of who asked.
    """

    def __init__(self, client: Redis, answered: Callable[[list[Any]], None] = lambda _replies: None) -> None:
        self._pool: Any = client.connection_pool
        self._answered = answered
        self._connection: Any = None
        self._replies: Replies | None = None
        self._used = 0.0

    async def ask(self, *commands: Sequence[Any]) -> list[Any]:
        """Send commands together; returns their replies, an error of the server's in place of the reply that it is.

        Raises:
            RedisError: the connection is no more; which of the commands were executed is not known.
        """
        replies = await self._fresh()
        try:
            packed = b"".join(piece for command in commands for piece in self._connection.pack_command(*command))
            answer = await replies.to(packed, len(commands), self._connection.socket_timeout)
        except BaseException:  # replies that were not read must not be taken for those of the next question
            await self._drop(disconnect=True)
            raise
        self._used = clock.monotonic()
        return answer

    async def _fresh(self) -> Replies:
        if self._replies is not None and clock.monotonic() - self._used > _FRESH:
            await self._drop(disconnect=False)
        if self._replies is None:
            self._connection = await self._pool.get_connection()  # which looks whether it is open
            self._replies = Replies(self._connection, self._answered)
        return self._replies

    async def _drop(self, *, disconnect: bool) -> None:
        connection, self._connection = self._connection, None
        replies, self._replies = self._replies, None
        if replies is not None:
            replies.put_back()
        if disconnect:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
        with contextlib.suppress(RedisError, OSError):
            await self._pool.release(connection)
