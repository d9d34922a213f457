"""`Server`: Redis as the loops of a process share it: clients, scripts, outages, and its clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis.asyncio
from redis.exceptions import ClusterDownError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskq.registry import clock, scripts
from taskq.registry.backoff import Backoff
from taskq.registry.connect import connect_worker
from taskq.registry.errors import ServerUnreachable, TaskqError
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

log = logging.getLogger("taskq.runtime")
# With its jitter (half to all of it) that is at most two connection attempts a second, and Redis is found within one of its return.
_PROBE = 1.0
# Of the replies that redis-py knows by a class it takes the first word off; these it doesn't know.
_OUTAGE_REPLIES = ("BUSY ", "UNKILLABLE ")
_OUTAGES = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, ClusterDownError, OSError, ServerUnreachable)


def is_outage(error: BaseException) -> bool:
    """Whether the error means that Redis can't be used by anyone now, rather than that it refused one command."""
    return isinstance(error, _OUTAGES) or (isinstance(error, RedisError) and str(error).startswith(_OUTAGE_REPLIES))


class Server:
    """The process's way to Redis.

    Args:
        settings: where it is.
        keys: of the namespace that the process serves.
        meanwhile: what goes on in an outage, for its log.

    Attributes:
        redis: the client for all that does not block.
        outages: how often Redis went away; equal before and after means that the connection was unbroken.
    """

    def __init__(self, settings: Settings, keys: Keys, meanwhile: str = "") -> None:
        self.settings, self.keys, self._meanwhile = settings, keys, meanwhile
        self.redis = connect_worker(settings)
        self.outages = 0
        self._clients: list[redis.asyncio.Redis] = [self.redis]
        self._there = asyncio.Event()
        self._there.set()
        self._prober: asyncio.Task[None] | None = None
        self._offset = clock.now() - clock.monotonic()

    def blocking(self, seconds: float) -> redis.asyncio.Redis:
        """A client of its own for commands that block for up to ``seconds``."""
        client = connect_worker(self.settings, blocking=seconds)
        self._clients.append(client)
        return client

    async def call(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run ``lua/<script>.lua`` and return its reply; errors are redis-py's."""
        return await scripts.load(script).call_async(self.redis, keys, args)

    # -- outages -------------------------------------------------------------------------------------------
    @property
    def away(self) -> bool:
        """Whether Redis was away when last heard of."""
        return not self._there.is_set()

    async def ready(self) -> None:
        """Returns at once while Redis is there, else as soon as it is back."""
        if not self._there.is_set():
            await self._there.wait()

    def lost(self, error: BaseException) -> None:
        """A loop met an outage: close the gate and start to look for Redis."""
        if self._there.is_set():
            self.outages += 1
            self._there.clear()
            log.warning("Redis is away (%s)%s", error, self._meanwhile and f"; {self._meanwhile}")
            self._prober = asyncio.create_task(self._probe(), name="probe of Redis")

    async def farewell(self, words: Callable[[], Awaitable[object]]) -> None:
        """Send what a process has to say as it ends; one outage is waited for once, and not again for what there is to say after it."""
        if self.away:
            return
        try:
            await words()
        except (RedisError, OSError, TaskqError) as error:
            if is_outage(error):
                self.lost(error)

    async def _probe(self) -> None:
        backoff, began = Backoff(_PROBE, _PROBE), clock.monotonic()
        while True:
            await asyncio.sleep(backoff.next())
            try:
                # Pooled connections are from before the outage; all but those in use are dropped.
                for client in self._clients:
                    await client.connection_pool.disconnect(inuse_connections=False)
                # It changes nothing, but is a write: a server that takes none, such as a replica, is of no use to anyone here.
                # What was asked while the network swallowed everything is never answered: it must not keep us from asking again.
                async with asyncio.timeout(self.settings.connect_timeout):
                    await self.redis.persist(self.keys.revision)
            except (RedisError, OSError) as error:
                if is_outage(error):
                    log.debug("Redis is still away: %s", error)
                    continue
                # It answers; whoever it refuses hears of it from there.
            log.warning("Redis is back after %.1f s", clock.monotonic() - began)
            self._there.set()
            return

    # -- Redis' clock --------------------------------------------------------------------------------------
    def observe(self, seconds: float) -> None:
        """Redis said that its time is ``seconds`` now."""
        self._offset = seconds - clock.monotonic()

    def now(self) -> float:
        """Redis' time in seconds since the epoch, as far as known here: for records, not for decisions about leases."""
        return clock.monotonic() + self._offset

    def at(self, monotonic: float) -> float:
        """Redis' time at a moment of our monotonic clock, as `now` knows it."""
        return monotonic + self._offset

    async def sync_clock(self) -> None:
        """Ask Redis for its time."""
        seconds, micros = await self.redis.time()
        self.observe(seconds + micros / 1e6)

    async def close(self) -> None:
        """Close all clients."""
        if self._prober:
            self._prober.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._prober
        for client in self._clients:
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()
