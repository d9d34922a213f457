"""`Heartbeat`: tells the fleet, and RQ's tools, that this worker is there and how it is."""

from __future__ import annotations

import math
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from redis.exceptions import RedisError

from taskq.registry import clock
from taskq.registry.model.worker import STATUS_FIELD, WorkerReport
from taskq.registry.runtime.loop import Periodic
from taskq.registry.runtime.server import Server
from taskq.worker.loading.reports import Reports
from taskq.worker.supervisor.sweeper import forget_worker

State = Literal["starting", "idle", "busy", "draining"]


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


class Heartbeat(Periodic):
    """Reports each ``heartbeat`` seconds, and at once when it is poked.

    Args:
        server: where. ``worker``: our name. ``queues``: that we serve.
        reports: load reports that go with it. ``vitals``: how we are.
    """

    def __init__(self, server: Server, worker: str, queues: Sequence[str], reports: Reports, vitals: Callable[[], Vitals]) -> None:
        super().__init__(server, "heartbeat", server.settings.heartbeat)
        self.worker, self._queues, self._reports, self._vitals = worker, tuple(queues), reports, vitals
        self._host = socket.gethostname()
        self._release, self._rq_release = version("taskq-fleet"), version("rq")
        self._started_at = 0.0
        self._wrote = False
        self.starting = True
        self.draining = False

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
            news = await self._write(fields, absent)
        except (RedisError, OSError):
            self._reports.untake(taken)
            raise
        if news:
            # The hash was not there: it had expired in an outage, or Redis came back empty.
            self._reports.rewrite()

    async def _write(self, fields: dict[str, bytes], absent: list[str]) -> bool:
        """Returns whether the worker's hash was there before and has gone."""
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
            pipe.time()
            replies = await pipe.execute()
        seconds, micros = replies[-1]
        self.server.observe(seconds + micros / 1e6)
        lost, self._wrote = self._wrote and bool(replies[0]), True
        return lost

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

    async def remove(self) -> None:
        """Take the report away: the worker ends."""
        async with self.server.redis.pipeline(transaction=True) as pipe:
            forget_worker(pipe, self.server.keys, self.worker, self._queues)
            await pipe.execute()
