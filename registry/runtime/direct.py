"""Commands that were packed before, sent on a blocking client's connections without what redis-py does around each command.

Of a short command redis-py's client takes twice the time of the server: it takes a connection out of the pool, looks whether it is sound,
packs, counts for its statistics, and puts it back. For what is sent again and again, and may be sent again, that can be left out: whoever
gets no answer here asks once more by the client, with its retries, its reconnecting and its errors.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Any

import redis
from redis.exceptions import RedisError


class Lines:
    """Connections of a client, lent to one exchange each. Threads may share it; a forked child begins with none.

    Args:
        client: of redis-py; of one that is not redis-py's own, or holds a single connection, nothing is used.
        keep: whether connections are kept out of its pool, as may be done with a client that is ours alone. They are only ever taken out
            of the pool after something has gone well, so that nothing here connects.
    """

    def __init__(self, client: Any, *, keep: bool) -> None:
        pool = client.connection_pool
        plain = type(client) is redis.Redis and type(pool) is redis.ConnectionPool
        self._pool: Any = pool if plain and client.connection is None and pool.cache is None else None
        self._keep = keep
        self._free: list[Any] = []
        self._process = os.getpid()

    def exchange(self, packed: bytes) -> Any:
        """Send a command, which must be one that may be sent twice; returns its reply, None if there is none to be had here.

        None says nothing about whether the server has executed it; an error of the server's is no reply either.
        """
        connection = self._take()
        if connection is None:
            return None
        try:
            connection.send_packed_command((packed,), False)
            reply = connection.read_response()
        except BaseException as error:  # an answer that was not read must not be taken for that of the next command
            connection.disconnect()
            self._pool.release(connection)
            if isinstance(error, RedisError | OSError):
                return None
            raise
        if self._keep:
            self._free.append(connection)
        else:
            self._pool.release(connection)
        return reply

    def _take(self) -> Any:
        if self._pool is None:
            return None
        if not self._keep:
            with contextlib.suppress(RedisError, OSError):
                return self._pool.get_connection()
            return None
        if self._process != os.getpid():
            self._process, self._free = os.getpid(), []
        try:
            return self._free.pop()
        except IndexError:
            return None

    def went_well(self) -> None:
        """The client has just been answered: a connection of its pool may be kept, if none is."""
        if self._pool is not None and self._keep and not self._free and self._process == os.getpid():
            with contextlib.suppress(RedisError, OSError):
                connection = self._pool.get_connection()
                try:
                    _wait_in_kernel(connection)
                except OSError:  # it has just ended
                    self._pool.release(connection)
                    raise
                self._free.append(connection)

    def close(self) -> None:
        """Put back all that are kept."""
        while self._free and self._pool is not None:
            connection = self._free.pop()
            connection.disconnect()
            self._pool.release(connection)


def _wait_in_kernel(connection: Any) -> None:
    """Have the kernel watch the connection's timeout: Python asks it before each read and each write whether there is something, else."""
    sock, timeout = getattr(connection, "_sock", None), connection.socket_timeout
    if type(sock) is socket.socket and timeout:
        seconds, rest = divmod(timeout, 1)
        limit = struct.pack("@ll", int(seconds), int(rest * 1_000_000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.settimeout(None)
