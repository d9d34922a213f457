"""`Loop`: the one shape of all that goes on for as long as the process does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable

from redis.exceptions import RedisError

from taskq.registry import clock
from taskq.registry.backoff import Backoff
from taskq.registry.errors import ServerUnreachable, TaskqError
from taskq.registry.runtime.server import Server, is_outage

log = logging.getLogger("taskq.runtime")
_HEALTHY_AFTER = 10.0
_CANCEL_AGAIN = 0.5


class Loop:
    """A loop with start and stop; a subclass defines `run`.

    `run` is called again whatever it raises: at once when Redis is back if that was it, else with backoff and with its
    traceback in the log. It ends when it returns, or by `stop`.

    Args:
        server: whose outages the loop waits out.
        name: for the log.
    """

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """The work: returns only when it is done for good."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin; a loop that runs already is left alone."""
        if self._task is None:
            self._task = asyncio.create_task(self._guarded(), name=self.name)

    async def stop(self) -> None:
        """End it now, wherever it is; returns once it has ended."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    async def _guarded(self) -> None:
        backoff = Backoff(0.1, 5.0)
        while True:
            began = clock.monotonic()
            try:
                await self.server.ready()
                await self.run()
            except (RedisError, OSError, ServerUnreachable) as error:
                if is_outage(error):
                    self.server.lost(error)
                    continue
                delay = _pause(backoff, began)
                log.warning("%s: Redis refused (%s); again in %.1f s", self.name, error, delay)
            except TaskqError as error:
                delay = _pause(backoff, began)
                log.warning("%s: %s; again in %.1f s", self.name, error, delay)
            except Exception:  # a loop must never end unseen: recorded with its traceback, then started again
                delay = _pause(backoff, began)
                log.exception("%s failed; it starts again in %.1f s", self.name, delay)
            else:
                return
            await asyncio.sleep(delay)


def _pause(backoff: Backoff, began: float) -> float:
    """How long to wait after a failure: as after the first one, if it had gone well for a while."""
    if clock.monotonic() - began > _HEALTHY_AFTER:
        backoff.reset()
    return backoff.next()


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; again where a library under it swallowed the cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN)


async def unless(stop: asyncio.Event, work: Awaitable[None]) -> None:
    """Do the work, or as much of it as can be done before ``stop`` is set; what it raises is raised here."""
    task, stopped = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        task.result()
    else:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Periodic(Loop):
    """A loop that calls `step` each ``every`` seconds, or sooner when it is poked."""

    def __init__(self, server: Server, name: str, every: float) -> None:
        super().__init__(server, name)
        self.every = every
        self._poked = asyncio.Event()

    async def step(self) -> None:
        """One round of the work."""
        raise NotImplementedError

    def poke(self) -> None:
        """Have the next round begin now."""
        self._poked.set()

    async def run(self) -> None:
        while True:
            await self.server.ready()  # each try would be one more connection attempt
            self._poked.clear()
            await self.step()
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the event.
                async with asyncio.timeout(self.every):
                    await self._poked.wait()
