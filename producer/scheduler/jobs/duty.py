"""The duty of moving jobs: the lead of it and the moving, as one step that any client drives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import Final

from taskq.producer.scheduler.jobs.handover import Mover
from taskq.producer.scheduler.leadership import Lead, lead, lease_of, resign
from taskq.registry import clock
from taskq.registry.effects import Op, run_async
from taskq.registry.keys import Keys
from taskq.registry.runtime.loop import Loop
from taskq.registry.runtime.server import Server
from taskq.registry.settings import Settings

log = logging.getLogger("taskq.scheduler")
_RENEWALS: Final = 3
_BEHIND: Final = 0.005
_GAP: Final = 0.01


class Duty:
    """The lead of moving jobs, as one scheduler has it, and what it does with it.

    The lead is asked for each third of the lease, by who stands by just behind the lease's end as well. What is due is looked for when
    the first of the jobs is due, when somebody says that one may be, and each ``longest`` seconds.

    Args:
        settings, keys: of the namespace. ``who``: the scheduler's name. ``mover``: moves what is due.
        longest: in seconds; ``settings.poll`` if that is shorter.
    """

    def __init__(self, settings: Settings, keys: Keys, who: str, mover: Mover, longest: float = math.inf) -> None:
        self._keys, self._who, self._mover = keys, who, mover
        self._lease, self._longest = lease_of(settings), max(_GAP, min(settings.poll, longest))
        self._token, self._renew_at, self._look_at = "", 0.0, 0.0

    def take(self) -> Op[Lead]:
        """Take the lead or renew it."""
        began = clock.monotonic()
        answer = yield from lead(self._keys, self._keys.scheduler_jobs_lease, self._who, self._token, self._lease)
        if bool(answer.token) != bool(self._token):
            log.info("%s %s the jobs of FleetScheduler", self._who, "moves" if answer.token else "no longer moves")
        self._token, self._renew_at = answer.token, began + self._lease / _RENEWALS
        return answer

    def give_up(self) -> Op[None]:
        """Give the lead up, if it is ours, and wake the others."""
        token, self._token = self._token, ""
        if token:
            yield from resign(self._keys.scheduler_jobs_lease, self._who, token, self._keys.scheduler_wake)

    def look(self, *, woken: bool = True) -> Op[float]:
        """Keep the lead, or ask for it, and move what is due; the seconds to the next look.

        Args:
            woken: whether something may be due that was not there at the last look.
        """
        if not self._token or woken:
            self._look_at = 0.0
        if not self._token or clock.monotonic() >= self._renew_at:
            answer = yield from self.take()
            if not answer.token:
                pause = self._lease / _RENEWALS
                return pause if answer.left < 0 else min(pause, answer.left + _BEHIND)
        if clock.monotonic() >= self._look_at:
            moved = yield from self._mover.move_due(f"{self._token}|{self._who}")
            if not moved.leads:
                self._token = ""
                return 0.0
            ahead = self._longest if moved.next is None else min(self._longest, moved.next - moved.now)
            self._look_at = clock.monotonic() + ahead
        return max(0.0, min(self._renew_at, self._look_at) - clock.monotonic())


class Jobs(Loop):
    """The loop of `taskq scheduler` that does this duty.

    Args:
        server: where. ``who``: the scheduler's name.
    """

    def __init__(self, server: Server, who: str) -> None:
        super().__init__(server, "jobs")
        self._duty = Duty(server.settings, server.keys, who, Mover(server.keys))
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """Look now: something may be due sooner, or the lead be free."""
        self._poked.set()

    async def resign(self) -> None:
        """End it, and give the lead up; an outage is no reason to wait."""
        await self.stop()
        await self.server.farewell(lambda: run_async(self._duty.give_up(), self.server.redis))

    async def run(self) -> None:
        while True:
            await self.server.ready()  # each try would be one more connection attempt
            woken, began = self._poked.is_set(), clock.monotonic()
            self._poked.clear()
            pause = await run_async(self._duty.look(woken=woken), self.server.redis)
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the event.
                async with asyncio.timeout(pause):
                    await self._poked.wait()
                    # Looks that are asked for come no closer than this: a flood of messages costs 100 of them a second.
                    await asyncio.sleep(max(0.0, began + _GAP - clock.monotonic()))
