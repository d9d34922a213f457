"""`Reports`: what a scheduler says of itself, for people and for `taskq doctor`."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

from taskq.registry import clock
from taskq.registry.model.scheduler import SchedulerReport
from taskq.registry.runtime.loop import Periodic
from taskq.registry.runtime.schedulers import report_of
from taskq.registry.runtime.server import Server

log = logging.getLogger("taskq.scheduler")
# A silent scheduler is forgotten after so many times ``worker_ttl``; the leader looks each so many heartbeats.
_GONE: Final = 3
_LOOK: Final = 5
_SKEW: Final = 1.0


class Reports(Periodic):
    """Reports each ``heartbeat`` seconds, and at once when it is poked; who leads forgets schedulers that went silent.

    Args:
        server: where. ``scheduler``: our name.
        vitals: whether we lead, the revision that we follow, and the time of our last tick (seconds by Redis' clock, None for none).
    """

    def __init__(self, server: Server, scheduler: str, vitals: Callable[[], tuple[bool, int, float | None]]) -> None:
        super().__init__(server, "reports", server.settings.heartbeat)
        self._scheduler, self._vitals = scheduler, vitals
        self._host, self._release = socket.gethostname(), version("taskq-fleet")
        self._started_at = 0.0
        self._steps = 0
        self._warned = False

    async def step(self) -> None:
        await self.server.sync_clock()
        now = self.server.now()
        self._compare(now)
        self._started_at = self._started_at or now
        leads, revision, last_tick = self._vitals()
        report = SchedulerReport(
            scheduler=self._scheduler,
            host=self._host,
            pid=os.getpid(),
            state="leader" if leads else "standby",
            revision=revision,
            heartbeat=now,
            started_at=self._started_at,
            release=self._release,
            last_tick=last_tick,
        )
        await self.server.redis.hset(self.server.keys.schedulers, self._scheduler, report.dump())
        if leads and self._steps % _LOOK == 0:
            await self._prune(now - _GONE * self.server.settings.worker_ttl)
        self._steps += 1

    def _compare(self, now: float) -> None:
        """Warn once where this machine's clock is not Redis'; what is due does not depend on it."""
        skew = clock.now() - now
        if abs(skew) > _SKEW and not self._warned:
            self._warned = True
            log.warning("this machine's clock is %.1f s %s Redis', which decides", abs(skew), "ahead of" if skew > 0 else "behind")

    async def _prune(self, horizon: float) -> None:
        stored: Any = await self.server.redis.hgetall(self.server.keys.schedulers)
        reports = {name: report_of(blob) for name, blob in stored.items()}
        gone = [name for name, report in reports.items() if report is not None and report.heartbeat < horizon]
        if gone:
            await self.server.redis.hdel(self.server.keys.schedulers, *gone)

    async def remove(self) -> None:
        """Take our report away: the scheduler ends."""
        await self.server.redis.hdel(self.server.keys.schedulers, self._scheduler)
