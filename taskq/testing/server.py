"""The fake server, and how each client in this process finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskq.registry import connect
from taskq.registry.settings import Settings

try:
    import fakeredis
    import lupa  # noqa: F401  # fakeredis needs it for scripts, and says nothing where it is missing
except ImportError as error:
    raise ModuleNotFoundError(
        f"taskq.testing: {error}; install what it needs with: pip install 'taskq-fleet[testing]'", name=error.name
    ) from error

VERSION: Final = (7,)
"""Redis' version that is played: the oldest that taskq works with."""

OnWait = Callable[[str, float], bool]


class Backend:
    """A fake server, empty at first.

    Args:
        on_wait: called with the key of a stream and a time in seconds each time that a client is about to block on that stream;
            says whether it need not block.
    """

    def __init__(self, on_wait: OnWait) -> None:
        self.server = fakeredis.FakeServer(version=VERSION)
        self._on_wait = on_wait
        self._before: Callable[..., Any] | None = None

    def open(self) -> None:
        """Have each client that the package makes lead here, whatever its settings name."""
        self._before, connect.source.client = connect.source.client, self.client

    def close(self) -> None:
        """Have them lead to their own servers again; those that were made meanwhile find nobody."""
        if self._before is not None:
            connect.source.client, self._before = self._before, None
        self.server.connected = False

    def client(self, kind: type[Any], settings: Settings | None = None, **_options: Any) -> Any:
        """A client as `taskq.registry.connect` makes them; ``kind`` says whether it is asyncio's."""
        del settings  # whatever it names, this is the server
        fake, retry = (AsyncFake, AsyncRetry) if issubclass(kind, redis.asyncio.Redis) else (Fake, Retry)
        client: Any = fake(server=self.server, version=VERSION, protocol=2)
        # An outage is one at once: with redis-py's own retries each call would take seconds.
        client.connection_pool.connection_kwargs["retry"] = retry(NoBackoff(), 0)
        client.backend = self
        return client

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Redis is away meanwhile."""
        before, self.server.connected = self.server.connected, False
        try:
            yield
        finally:
            self.server.connected = before

    def unblocked(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The command to send for this one: a read of a stream that would block becomes one that does not."""
        if args[0] != "XREAD":
            return args
        words = [arg.decode(errors="replace") if isinstance(arg, bytes) else str(arg) for arg in args]
        if "BLOCK" not in words or "STREAMS" not in words:
            return args
        at = words.index("BLOCK")
        served = self._on_wait(words[words.index("STREAMS") + 1], float(words[at + 1]) / 1000)
        return args[:at] + args[at + 2 :] if served else args


class Fake(fakeredis.FakeRedis):
    """A blocking client of a `Backend`."""

    backend: Backend

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its reply."""
        return super().execute_command(*self.backend.unblocked(args), **options)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped


class AsyncFake(fakeredis.FakeAsyncRedis):
    """An asyncio client of a `Backend`."""

    backend: Backend

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return its reply."""
        return await super().execute_command(*self.backend.unblocked(args), **options)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
