"""`Feed`: keeps a `Snapshot` up to date for as long as it runs, whatever happens to Redis or to the channel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from taskq.registry import clock, scripts
from taskq.registry.backoff import pause
from taskq.registry.effects import Call, Op, run_async
from taskq.registry.errors import TaskqError
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis

OnChange = Callable[[set[str]], Awaitable[None]]
OnControl = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger("taskq.feed")
# At most so often does the channel make us ask: a flood of garbage costs 50 short calls a second.
_GAP: Final = 0.02
_AWAY: Final = (RedisError, OSError, TaskqError)


def read_changes(keys: Keys, snapshot: Snapshot) -> Op[set[str]]:
    """One catch-up: moves the snapshot to the registry's revision and returns the tasks that changed."""
    since: str | int = snapshot.revision or ""
    reply = yield Call(scripts.load("catchup"), [keys.registry, keys.revision, keys.changelog], [since])
    return snapshot.apply(reply)


class Feed:
    """Follows the registry.

    Args:
        redis: an asyncio client; the channel takes a connection of its own from its pool.
        keys: of the namespace. ``settings``: ``poll`` and ``pubsub``.
        snapshot: what is kept up to date.
        on_change: awaited with the changed tasks each time that the snapshot has moved, one call after the other and
            before `catch_up` returns: it should start work, not wait for it, and must not call `catch_up`.
        on_control: awaited with each message of the control channel that is a JSON object.
        on_wake: for a scheduler: called for each message on the channel that wakes schedulers, which is listened to instead of the
            control channel; what the message says is not looked at.
        ready: awaited before each attempt, for a process that notices in one place that Redis is away; None: the feed tries by itself.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        settings: Settings,
        snapshot: Snapshot,
        on_change: OnChange,
        on_control: OnControl | None = None,
        *,
        on_wake: Callable[[], None] | None = None,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.snapshot = snapshot
        self._redis, self._keys, self._settings = redis, keys, settings
        self._on_change, self._on_control, self._on_wake, self._gate = on_change, on_control, on_wake, ready
        self._channel = keys.control if on_wake is None else keys.scheduler_wake
        self._lock = asyncio.Lock()
        self._started = self._finished = 0
        self._poked = asyncio.Event()
        self._ready = asyncio.Event()
        self._answered = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to listen and to poll; returns once a first catch-up succeeded, however long Redis is away."""
        loops = [self._poll(), self._listen()] if self._settings.pubsub else [self._poll()]
        self._loops = [asyncio.create_task(loop) for loop in loops]
        await self._ready.wait()

    async def stop(self) -> None:
        """End both; no callback is called afterwards."""
        pending, self._loops = set(self._loops), []
        while pending:
            # Again and again: a client that is just connecting, or Python 3.11's wait_for, may swallow one cancellation.
            for loop in pending:
                loop.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.1)

    def poke(self) -> None:
        """Ask for a catch-up soon; never blocks."""
        self._poked.set()

    async def catch_up(self, at_least: int | None = None) -> None:
        """Bring the snapshot up to date. Callers at the same time share one call.

        Args:
            at_least: nothing is asked if the snapshot has this revision; None: as of a moment after this call.

        Raises:
            ServerUnreachable: Redis does not answer.
        """
        ticket = self._started
        async with self._lock:
            # A call that began after we asked, and ended well, has seen all that we wanted to see.
            served = self._finished > ticket if at_least is None else self.snapshot.revision >= at_least
            if served:
                return
            self._started += 1
            number = self._started
            revision = self.snapshot.revision
            changed = await run_async(read_changes(self._keys, self.snapshot), self._redis)
            self._finished = number
            self._answered.set()
            if changed or self.snapshot.revision != revision:
                await self._on_change(changed)
            self._ready.set()

    # -- the two loops -----------------------------------------------------------------------------------
    async def _poll(self) -> None:
        """Catch up when poked, and each ``poll`` seconds without."""
        failures = 0
        while True:
            failures = await self._attempt(self.catch_up, failures)
            if failures:
                continue
            await asyncio.sleep(_GAP)
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the event.
                async with asyncio.timeout(self._settings.poll):
                    await self._poked.wait()
            self._poked.clear()

    async def _listen(self) -> None:
        """Be subscribed; while Redis is away only the poll asks for it, and this one follows when it is back."""
        failures = 0
        while True:
            begun = clock.monotonic()
            failures = await self._attempt(self._subscribed, failures)
            if clock.monotonic() - begun > self._settings.poll:
                failures = 1  # it had worked for a while: the next pause is a short one
            self._answered.clear()
            self.poke()
            await self._answered.wait()

    async def _attempt(self, work: Callable[[], Awaitable[None]], failures: int) -> int:
        """Do ``work``; after a failure wait, and return how many there were in a row."""
        try:
            if self._gate is not None:
                await self._gate()
            await work()
        except _AWAY as error:
            _log.warning("registry feed: %s", error)
        except Exception:  # noqa: BLE001  # a bug in a callback must not end the feed for ever; it is recorded
            _log.exception("registry feed: a callback failed")
        else:
            return 0
        await asyncio.sleep(pause(failures))
        return failures + 1

    async def _subscribed(self) -> None:
        pubsub = self._redis.pubsub()
        try:
            await pubsub.subscribe(self._keys.changes, self._channel)
            while True:
                # The first messages are the server's confirmations: only a catch-up after those leaves no gap.
                message = await pubsub.get_message(timeout=self._settings.poll)
                if message is not None:
                    await self._received(message)
        finally:
            with contextlib.suppress(*_AWAY):
                await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated

    async def _received(self, message: dict[str, Any]) -> None:
        if message["type"] != "message" or message["channel"] != self._channel.encode():
            self.poke()
            return
        if self._on_wake is not None:
            self._on_wake()
            return
        request = _parsed(message["data"])
        if request is not None and self._on_control is not None:
            await self._on_control(request)


def _parsed(data: bytes) -> dict[str, Any] | None:
    """A control message; None where it is garbage."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
