"""The scheduler as a process: the loops around a `Ticker`, their start and their end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from taskq.producer.scheduler.jobs.duty import Jobs
from taskq.producer.scheduler.leadership import Leadership
from taskq.producer.scheduler.reports import Reports
from taskq.producer.scheduler.ticker import Tick, Ticker
from taskq.registry import clock
from taskq.registry.effects import run_async
from taskq.registry.feed.feed import Feed
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.names import check
from taskq.registry.runtime.loop import Loop, unless
from taskq.registry.runtime.process import make_unreadable, unique_name
from taskq.registry.runtime.server import Server
from taskq.registry.runtime.signals import work_until_signalled
from taskq.registry.settings import Settings

log = logging.getLogger("taskq.scheduler")
# Ticks that are asked for come no closer than this: a flood of messages costs 100 of them a second.
_GAP: Final = 0.01
_LAST_TICK: Final = 5.0


def run_scheduler(settings: Settings, name: str | None = None, *, dedicated: bool = False) -> int:
    """Be a scheduler of the registry until SIGTERM or SIGINT, and return the exit code.

    Args:
        settings: of this process.
        name: that others see; made from host and pid if None.
        dedicated: this process is nothing but a scheduler: it is made unreadable to others of its user.

    Raises:
        InvalidInput: the name is not allowed.
        ServerUnreachable: Redis can't be reached at the start; later outages are waited out.
    """
    process = SchedulerProcess(settings, check("scheduler", name or unique_name("scheduler")))
    if dedicated:
        make_unreadable()
    asyncio.run(work_until_signalled(process, dedicated=dedicated))
    return 0


class Ticking(Loop):
    """Ticks while we lead: when something is due, when it is woken, and each ``poll`` seconds.

    Args:
        server, ticker, lead, feed: what it works with.

    Attributes:
        last: when the last tick was, in seconds by Redis' clock; None before the first.
    """

    def __init__(self, server: Server, ticker: Ticker, lead: Leadership, feed: Feed) -> None:
        super().__init__(server, "ticking")
        self._ticker, self._lead, self._feed = ticker, lead, feed
        self._awake = asyncio.Event()
        self._outages = server.outages
        self._busy = self._ending = False
        self.last: float | None = None

    def wake(self) -> None:
        """Something may be due, or have changed."""
        self._awake.set()

    async def finish(self) -> None:
        """End it behind the tick that it is at; at once where Redis is away."""
        self._ending = True
        self._awake.set()
        if self._busy and self._task is not None and not self.server.away:
            await asyncio.wait([self._task], timeout=_LAST_TICK)
        await self.stop()

    async def run(self) -> None:
        while not self._ending:
            await self._lead.held()
            await self.server.ready()
            self._awake.clear()
            began = clock.monotonic()
            lease = self._lead.value
            tick = await self._tick(lease)
            if tick.outcome == "lost":
                self._lead.lost(lease)
            elif tick.outcome == "moved":
                await self._feed.catch_up()
            else:
                await self._sleep(tick, began)

    async def _tick(self, lease: str) -> Tick:
        if self._outages != self.server.outages:
            self._outages = self.server.outages
            self._ticker.forget()
        self._busy = True
        try:
            tick = await run_async(self._ticker.tick(lease), self.server.redis)
        finally:
            self._busy = False
        self.last = tick.now / 1000 if tick.now else self.last
        if tick.runs or tick.delayed:
            log.debug("%d slots fired, %d delayed runs moved", tick.runs, tick.delayed)
        return tick

    async def _sleep(self, tick: Tick, began: float) -> None:
        """Until the next thing is due, counted from when Redis was asked for its time: so the next question arrives when it is due."""
        longest = self.server.settings.poll
        if tick.next is not None:
            longest = min(longest, tick.asked + (tick.next - tick.now) / 1000 - clock.monotonic())
        if longest <= 0 or self._ending:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the event.
            async with asyncio.timeout(longest):
                await self._awake.wait()
                await asyncio.sleep(max(0.0, began + _GAP - clock.monotonic()))


class SchedulerProcess:
    """One scheduler.

    Args:
        settings: of the process. ``name``: of this scheduler.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = name
        self.server = server = Server(settings, Keys(settings.namespace, settings.rq_prefix), "nothing is fired")
        self.snapshot = Snapshot()
        self.ticker = Ticker(server.keys, settings, self.snapshot)
        self.feed = Feed(server.redis, server.keys, settings, self.snapshot, self._changed, on_wake=self._woken, ready=server.ready)
        self.lead = Leadership(server, server.keys.scheduler_lease, name, self._led)
        self.ticking = Ticking(server, self.ticker, self.lead, self.feed)
        self.jobs = Jobs(server, name)
        self.reports = Reports(server, name, self._vitals)
        self._stop = asyncio.Event()

    async def work(self) -> None:
        """Start, work until `request_stop`, and end: the tick that it is at is finished, the lead resigned.

        Raises:
            RedisError: Redis can't be reached at the start.
        """
        try:
            await self.server.sync_clock()
            self.reports.start()
            await unless(self._stop, self.feed.start())
            if not self._stop.is_set():
                for loop in (self.lead, self.ticking, self.jobs):
                    loop.start()
                log.info("scheduler %s has started", self.name)
            await self._stop.wait()
        finally:
            await self._end()

    def request_stop(self) -> None:
        """End it."""
        self._stop.set()

    async def _end(self) -> None:
        await self.ticking.finish()
        await self.jobs.resign()
        await self.lead.resign()
        await self.feed.stop()
        await self.reports.stop()
        await self.server.farewell(self.reports.remove)
        await self.server.close()

    # -- what the parts ask each other ---------------------------------------------------------------------
    async def _changed(self, tasks: set[str]) -> None:
        self.ticker.changed(tasks)
        self.ticking.wake()

    def _woken(self) -> None:
        """Something became due sooner than anything before, or the leader resigned."""
        self.ticking.wake()
        self.jobs.poke()
        if not self.lead.leads:
            self.lead.poke()

    def _led(self) -> None:
        self.reports.poke()

    def _vitals(self) -> tuple[bool, int, float | None]:
        return self.lead.leads, self.snapshot.revision, self.ticking.last
