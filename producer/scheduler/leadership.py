"""The lead of one duty: who does what only one may do, held by a lease and handed on by itself.

A duty is a key that holds ``<token>|<who>`` for as long as the lease. A script that acts for the duty compares that value
in the same step, so that who has lost the lead, and does not know it yet, writes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from taskq.registry.effects import Call, Op, run_async
from taskq.registry.keys import Keys
from taskq.registry.runtime.faults import point
from taskq.registry.runtime.loop import Loop
from taskq.registry.runtime.server import Server
from taskq.registry.scripts import load
from taskq.registry.settings import Settings

_log = logging.getLogger("taskq.scheduler")
_RENEWALS: Final = 3
# A lease that ends within this time is asked for just after its end.
_BEHIND: Final = 0.005


@dataclass(frozen=True, slots=True)
class Lead:
    """The answer to one attempt to take or renew a lead.

    ``token`` is ``""`` where somebody else leads, ``leader`` who does; the lease lasts ``left`` more seconds (negative: for ever);
    ``now_ms`` is Redis' clock.
    """

    token: str
    leader: str
    left: float
    now_ms: int


def lead(keys: Keys, duty: str, who: str, token: str, lease: float) -> Op[Lead]:
    """Take the lead of a duty if nobody has it, or renew one's own.

    Args:
        keys: of the namespace. ``duty``: the key of its lease.
        who: the name that others see. ``token``: that was given for the lead, ``""`` without.
        lease: how long it lasts without renewal, in seconds.
    """
    reply = yield Call(load("lead"), [duty, keys.fence], [who, token, max(1, round(lease * 1000))])
    return Lead(reply[0].decode(), reply[2].decode(errors="replace"), int(reply[3]) / 1000, int(reply[1]))


def resign(duty: str, who: str, token: str, channel: str) -> Op[bool]:
    """Give a lead up and wake the others by ``channel``; returns False where it had been lost."""
    return bool((yield Call(load("resign"), [duty], [who, token, channel])))


def lease_of(settings: Settings) -> float:
    """How long a silent leader leads, in seconds."""
    return min(settings.scheduler_lease, settings.lease)


class Leadership(Loop):
    """Keeps the lead of a duty for as long as it can, and asks for it for as long as it has not got it.

    The lead is renewed each third of the lease. Who stands by asks as often, just after the lease's end, and at once
    when it is poked. After an outage of Redis the old lead goes on if its lease is still there.

    Args:
        server: where. ``duty``: the key of the lease. ``who``: our name.
        on_change: told each time that we have got or lost the lead, or that another one leads.

    Attributes:
        leader: who leads as far as is known, ``""`` for nobody.
    """

    def __init__(self, server: Server, duty: str, who: str, on_change: Callable[[], None] | None = None) -> None:
        super().__init__(server, f"lead of {duty}")
        self._duty, self._who, self._on_change = duty, who, on_change
        self._lease = lease_of(server.settings)
        self._token = ""
        self.leader = ""
        self._poked, self._held = asyncio.Event(), asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether we lead, as far as is known here: a script decides."""
        return bool(self._token)

    @property
    def value(self) -> str:
        """What scripts compare with the lease; another one for each time that we got the lead; ``""`` while we don't lead."""
        return f"{self._token}|{self._who}" if self._token else ""

    async def held(self) -> None:
        """Returns as soon as we lead."""
        await self._held.wait()

    def poke(self) -> None:
        """Ask now: the leader may have resigned."""
        self._poked.set()

    def lost(self, value: str) -> None:
        """A script has refused the lease of this `value`: somebody else leads, or nobody, or we do under another one by now."""
        if value == self.value:
            self._become("", "")
            self.poke()

    async def resign(self) -> None:
        """Ask for the lead no more, and give up the one that we have; an outage is no reason to wait."""
        await self.stop()
        token, self._token = self._token, ""
        self._held.clear()
        if token:
            words = resign(self._duty, self._who, token, self.server.keys.scheduler_wake)
            await self.server.farewell(lambda: run_async(words, self.server.redis))

    async def run(self) -> None:
        while True:
            await self.server.ready()
            self._poked.clear()
            answer = await run_async(lead(self.server.keys, self._duty, self._who, self._token, self._lease), self.server.redis)
            self._become(answer.token, answer.leader)
            if self.leads:
                point("scheduler.leads")
            pause = self._lease / _RENEWALS
            if not answer.token and answer.left >= 0:
                pause = min(pause, answer.left + _BEHIND)
            with contextlib.suppress(TimeoutError):
                # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with the event.
                async with asyncio.timeout(pause):
                    await self._poked.wait()

    def _become(self, token: str, leader: str) -> None:
        if (token, leader) == (self._token, self.leader):
            return
        if token:
            _log.info("%s leads", self._who)
        elif self._token:
            _log.warning("%s has lost the lead%s", self._who, f" to {leader}" if leader else "")
        elif leader:
            _log.info("%s stands by; %s leads", self._who, leader)
        self._token, self.leader = token, leader
        (self._held.set if token else self._held.clear)()
        if self._on_change is not None:
            self._on_change()
