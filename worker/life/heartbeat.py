"""`Heartbeat`: tells the fleet, RQ's tools and whoever watches its health file that this worker is there and how it is.

The same round trip asks what is wanted of the worker (`Requests`), and whether Redis still has its state (`Epoch`).
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from redis.exceptions import RedisError

from taskq.registry import clock
from taskq.registry.keys import Keys
from taskq.registry.model.worker import STATUS_FIELD, LimitsReport, WorkerReport
from taskq.registry.runtime.faults import point
from taskq.registry.runtime.health import HealthFile
from taskq.registry.runtime.loop import Periodic
from taskq.registry.runtime.server import Server
from taskq.worker.life.epoch import Epoch
from taskq.worker.loading.reports import Reports

State = Literal["starting", "idle", "busy", "draining"]
OnAsked = Callable[[Mapping[bytes, bytes]], list[str]]

log = logging.getLogger("taskq.worker")
# Seconds between Redis' clock and this machine's that are worth a warning.
_SKEW = 1.0


@dataclass(slots=True, frozen=True)
class Vitals:
    """What a heartbeat says of the moment."""

    revision: int
    running: int
    executors: int
    current: str
    succeeded: int
    failed: int
    working_time: float
    limits: LimitsReport | None = None


class Heartbeat(Periodic):
    """Reports each ``heartbeat`` seconds, and at once when it is poked.

    Args:
        server: where. ``worker``: our name. ``queues``: that we serve.
        reports: load reports that go with it. ``vitals``: how we are. ``epoch``: is asked along with it.
        on_asked: is given what is asked of this worker; returns what is done with.
        health: is written after each heartbeat while the worker is ready; None for none.
    """

    def __init__(
        self,
        server: Server,
        worker: str,
        queues: Sequence[str],
        reports: Reports,
        vitals: Callable[[], Vitals],
        *,
        epoch: Epoch,
        on_asked: OnAsked,
        health: HealthFile | None = None,
    ) -> None:
        super().__init__(server, "heartbeat", server.settings.heartbeat)
        self._epoch, self._on_asked, self._health = epoch, on_asked, health
        self._skewed = self._unhealthy = False
        self.worker, self._queues, self._reports, self._vitals = worker, tuple(queues), reports, vitals
        self._host = socket.gethostname()
        self._release, self._rq_release = version("taskq-fleet"), version("rq")
        self._started_at = 0.0
        self._wrote = False
        self.starting = True
        self.draining = False

    @property
    def started(self) -> str:
        """When it started, as a request to drain names the worker that it means."""
        return f"{self._started_at:.6f}"

    @property
    def state(self) -> State:
        """What `taskq workers` shows."""
        if self.draining:
            return "draining"
        if self.starting:
            return "starting"
        return "busy" if self._vitals().running else "idle"

    async def step(self) -> None:
        if not self._started_at:
            await self.server.sync_clock()
            self._started_at = self.server.now()
        fields, absent, taken = self._reports.take()
        try:
            news, asked = await self._write(fields, absent)
        except (RedisError, OSError):
            self._reports.untake(taken)
            raise
        point("worker.reported")
        if news:
            # The hash was not there: it had expired in an outage, or Redis came back empty.
            self._reports.rewrite()
        self._tell_health()
        done = self._on_asked(asked) if asked else []
        if done:
            await self.server.redis.hdel(self.server.keys.asked(self.worker), *done)

    async def _write(self, fields: dict[str, bytes], absent: list[str]) -> tuple[bool, dict[bytes, bytes]]:
        """Returns whether the worker's hash was there before and has gone, and what is asked of us."""
        names, now = self.server.keys, self.server.now()
        key, rq_key = names.worker(self.worker), names.rq_worker(self.worker)
        ttl = math.ceil(self.server.settings.worker_ttl * 2)
        async with self.server.redis.pipeline(transaction=True) as pipe:
            pipe.hset(key, STATUS_FIELD, self._report(now).dump())
            if fields:
                pipe.hset(key, mapping=fields)  # type: ignore[arg-type]  # bytes are values
            if absent:
                pipe.hdel(key, *absent)
            pipe.expire(key, ttl)
            pipe.zadd(names.workers, {self.worker: now})
            pipe.hset(rq_key, mapping=self._rq_fields(now))
            pipe.expire(rq_key, ttl + 60)
            pipe.sadd(names.rq_workers, rq_key)
            for queue in self._queues:
                pipe.sadd(names.rq_workers_of(queue), rq_key)
            drawn = self._epoch.ask(pipe)
            pipe.hgetall(names.asked(self.worker))
            pipe.time()
            replies = await pipe.execute()
        found, asked, (seconds, micros) = replies[-3:]
        self.server.observe(seconds + micros / 1e6)
        self._look_at_clock()
        self._epoch.answered(drawn, found)
        lost, self._wrote = self._wrote and bool(replies[0]), True
        return lost, asked

    @property
    def _skew(self) -> float:
        return self.server.now() - clock.now()

    def _look_at_clock(self) -> None:
        skewed = abs(self._skew) > _SKEW
        if skewed and not self._skewed:
            told = f"{abs(self._skew):.1f} s {'behind' if self._skew > 0 else 'ahead of'}"
            log.warning("this machine's clock is %s Redis': nothing here is decided by it, but times in logs are; let NTP set it", told)
        self._skewed = skewed

    def _tell_health(self) -> None:
        """The health file: there while runs are taken, and as old as the last heartbeat."""
        if self._health is None:
            return
        try:
            if self.state in ("idle", "busy"):
                vitals = self._vitals()
                told = {"worker": self.worker, "state": self.state, "revision": vitals.revision}
                self._health.write(**told, executors=vitals.executors, running=vitals.running)
            else:
                self._health.remove()
            self._unhealthy = False
        except OSError as error:
            if not self._unhealthy:
                log.error("the health file can't be written: %s", error)  # noqa: TRY400  # the system says it all
            self._unhealthy = True

    def _report(self, now: float) -> WorkerReport:
        vitals = self._vitals()
        return WorkerReport(
            worker=self.worker,
            host=self._host,
            pid=os.getpid(),
            state=self.state,
            revision=vitals.revision,
            queues=self._queues,
            executors=vitals.executors,
            running=vitals.running,
            heartbeat=now,
            started_at=self._started_at,
            release=self._release,
            limits=vitals.limits,
            skew=round(self._skew, 3),
            state_lost=self._epoch.lost_at,
        )

    def _rq_fields(self, now: float) -> Any:
        vitals = self._vitals()
        return {
            "birth": clock.rq_format(self._started_at),
            "last_heartbeat": clock.rq_format(now),
            "queues": ",".join(map(self.server.keys.queue_name, self._queues)),
            "pid": os.getpid(),
            "hostname": self._host,
            "ip_address": "",
            "version": self._rq_release,
            "python_version": sys.version.split(" ", 1)[0],
            "state": "busy" if vitals.running else "idle",
            "current_job": vitals.current,
            "successful_job_count": vitals.succeeded,
            "failed_job_count": vitals.failed,
            "total_working_time": f"{vitals.working_time:.6f}",
        }

    async def stop(self) -> None:
        await super().stop()
        if self._health is not None:
            try:
                self._health.remove()
            except OSError as error:
                log.error("the health file can't be removed: %s", error)  # noqa: TRY400  # the system says it all

    async def remove(self) -> None:
        """Take the report away: the worker ends."""
        async with self.server.redis.pipeline(transaction=True) as pipe:
            forget_worker(pipe, self.server.keys, self.worker, self._queues)
            await pipe.execute()


def forget_worker(pipe: Any, names: Keys, worker: str, queues: Iterable[str]) -> None:
    """Queue the commands that remove all traces of a worker, ours and RQ's."""
    key = names.rq_worker(worker)
    pipe.zrem(names.workers, worker)
    pipe.delete(names.worker(worker), names.asked(worker), key)
    pipe.srem(names.rq_workers, key)
    for queue in queues:
        pipe.srem(names.rq_workers_of(queue), key)
