"""Makes connections to Redis: one place for timeouts, retries and the protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskq.registry.errors import InvalidInput
from taskq.registry.runtime.packing import packing
from taskq.registry.runtime.spacing import spaced
from taskq.registry.settings import Settings, find_url, read_password

# Attempts after the first one; they are kept apart by `spaced`.
_CLIENT_RETRIES = 1


def connect(settings: Settings) -> redis.Redis:
    """A blocking client for commands and programs; it tries twice, since all that it sends may be sent again.

    Raises:
        ServerUnreachable: no server is named or found. Nothing is connected yet.
        InvalidInput: the URL is malformed, or the file with its password can't be used.
    """
    client: redis.Redis = spaced(source.client(redis.Redis, settings, retry=Retry(NoBackoff(), _CLIENT_RETRIES)))
    return client


def connect_async(settings: Settings) -> redis.asyncio.Redis:
    """The asyncio client for programs; the same as `connect` otherwise."""
    client: redis.asyncio.Redis = spaced(source.client(redis.asyncio.Redis, settings, retry=AsyncRetry(NoBackoff(), _CLIENT_RETRIES)))
    return client


def connect_worker(settings: Settings, *, blocking: float = 0.0) -> redis.asyncio.Redis:
    """An asyncio client for a worker's loops, which retry themselves: nothing is sent twice.

    Args:
        settings: where and with which timeouts.
        blocking: longest time in seconds that a command of this client blocks on purpose.
    """
    patience = settings.socket_timeout + blocking
    options = {"retry": AsyncRetry(NoBackoff(), 0), "socket_timeout": patience}
    client: redis.asyncio.Redis = source.client(redis.asyncio.Redis, settings, **options)
    pool: Any = client.connection_pool
    pool.connection_class = packing(pool.connection_class)
    return client


def _from_url(client: Any, settings: Settings, **options: Any) -> Any:
    options.setdefault("socket_timeout", settings.socket_timeout)
    url, password = find_url(settings), read_password(settings)
    if password is not None:
        options["password"] = password  # one in the URL wins
    try:
        return client.from_url(url, socket_connect_timeout=settings.connect_timeout, protocol=2, health_check_interval=0, **options)
    except ValueError as error:
        raise InvalidInput(f"redis URL: {error}", hint="the form is redis://[user:password@]host:port/db or unix:///path") from None


class Source:
    """Where clients come from; the instance attribute may be replaced in tests (`taskq.testing` does).

    ``client`` is given redis-py's class, the settings and the options of the connection.
    """

    def __init__(self) -> None:
        self.client: Callable[..., Any] = _from_url


source = Source()


def with_server(settings: Settings, connection: Any) -> Settings:
    """The settings of a process that makes connections of its own, since a client belongs to its thread, to the server of ``connection``.

    Args:
        settings: which the others are taken from.
        connection: a client of redis-py, or a URL; None for the settings' own server.
    """
    if connection is None:
        return settings
    if isinstance(connection, str):
        return settings.model_copy(update={"redis_url": connection})
    # A client has told its password, or needs none: the file's belongs to another server.
    return settings.model_copy(update={"redis_url": _url_of(connection.connection_pool.connection_kwargs), "redis_password_file": None})


def _url_of(options: dict[str, Any]) -> str:
    password, user, database = options.get("password"), options.get("username") or "", options.get("db") or 0
    credential = f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else ""
    if options.get("path"):
        return f"unix://{credential}{options['path']}?db={database}"
    scheme = "rediss" if options.get("ssl") or "ssl_cert_reqs" in options else "redis"
    return f"{scheme}://{credential}{options.get('host', 'localhost')}:{options.get('port', 6379)}/{database}"
