"""`Outcomes`: verdicts on their way to Redis, in batches, held while it is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from redis.exceptions import RedisError

from taskq.registry import clock
from taskq.registry.model.event import RunEventType
from taskq.registry.model.spec import Spec
from taskq.registry.runtime.loop import Loop
from taskq.registry.runtime.server import Server, is_outage
from taskq.worker.runs.recording import event_of, finish_args, kept_for, release_args
from taskq.worker.runs.run import Run
from taskq.worker.runs.verdicts import Finish, Release, Verdict
from taskq.worker.supervisor.logs import Logs

log = logging.getLogger("taskq.worker")
_BATCH = 128
_BATCH_BYTES = 4_000_000
_FULL = ("OOM", "MISCONF", "NOREPLICAS")

Item = tuple[Run, Verdict]


class Outcomes(Loop):
    """Records outcomes with finish.lua and gives runs back with release.lua.

    Both check the lease's token, so that sending again after a lost reply does no harm. What was settled while a call is
    under way leaves with the next one. An item that Redis refuses by itself is dropped with a line in the log; its lease then
    expires, and the run is swept like any lost one.

    Args:
        server: where to. ``worker``: our name. ``logs``: written before the outcome of the run that they belong to.
    """

    def __init__(self, server: Server, worker: str, logs: Logs) -> None:
        super().__init__(server, "outcomes")
        self._worker, self._logs = worker, logs
        self._settings = server.settings
        self._pending: list[Item] = []
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.succeeded = self.failed = 0
        self.working_time = 0.0

    def settle(self, run: Run, verdict: Verdict) -> None:
        """Take in a verdict; it leaves soon."""
        self._pending.append((run, verdict))
        self._empty.clear()
        self._wake.set()

    def held(self) -> Iterator[Run]:
        """Runs whose outcome Redis has not confirmed."""
        return (run for run, _ in self._pending)

    def unconfirmed(self) -> int:
        """How many these are."""
        return len(self._pending)

    async def flushed(self, seconds: float) -> bool:
        """Waits until nothing is pending, at most so long; returns whether that is so."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        while True:
            # First what an outage has interrupted: nobody rings for it again.
            while self._pending:
                batch = self._cut()
                await self._logs.flush()
                await self._send(batch)
                del self._pending[: len(batch)]
            self._empty.set()
            await self._wake.wait()
            self._wake.clear()

    def _cut(self) -> list[Item]:
        size, count = 0, 0
        for _, verdict in self._pending[:_BATCH]:
            size += len(verdict.result) + len(verdict.traceback) if isinstance(verdict, Finish) else 0
            if count and size > _BATCH_BYTES:
                break
            count += 1
        return self._pending[:count]

    async def _send(self, batch: Sequence[Item]) -> None:
        try:
            await self._write(batch)
        except RedisError as error:
            if is_outage(error) or str(error).startswith(_FULL):
                raise
            if len(batch) == 1:
                log.error("the outcome of run %s is refused and dropped: %s", batch[0][0].id, error)  # noqa: TRY400  # Redis' reply says it all
                return
            for item in batch:
                await self._send([item])

    async def _write(self, batch: Sequence[Item]) -> None:
        finishes = [(run, verdict) for run, verdict in batch if isinstance(verdict, Finish)]
        releases = [(run, verdict) for run, verdict in batch if isinstance(verdict, Release)]
        keys = self.server.keys
        if finishes:
            args: list[Any] = [keys.rq, keys.prefix, self._worker]
            for run, finish in finishes:
                args += finish_args(run, finish, self._settings)
            replies = await self.server.call("finish", [keys.leases, keys.lease, keys.events], args)
            self._count(finishes, replies)
        if releases:
            args = [keys.rq, keys.prefix]
            for run, release in releases:
                args += release_args(run, release, self._settings, worker=self._worker, now=self.server.now())
            names = [keys.leases, keys.lease, keys.parked_tasks, keys.events, keys.scheduler_runs, keys.scheduler_wake]
            replies = await self.server.call("release", names, args)
            for (run, _), reply in zip(releases, replies, strict=True):
                if reply == b"stale":
                    log.info("run %s can't be given back: its lease is not ours any more", run.id)

    def _count(self, finishes: Sequence[tuple[Run, Finish]], replies: Sequence[bytes]) -> None:
        for (run, finish), reply in zip(finishes, replies, strict=True):
            if reply == b"stale":
                log.warning("the outcome of run %s is refused as stale: another worker has taken it over", run.id)
            elif reply == b"ok":
                if run.began:
                    self.working_time += max(0.0, clock.monotonic() - run.began)
                self.succeeded += finish.status == "finished"
                self.failed += finish.status == "failed"

    def ttl(self, spec: Spec | None, finish: Finish) -> int:
        """How long an outcome is kept, in whole seconds."""
        return kept_for(spec, finish, self._settings)

    def event(self, kind: RunEventType, run: Run, **data: str) -> str:
        """The body of a run's event, '' where none is published; empty fields are left out."""
        return event_of(kind, run, self._settings, **data)
