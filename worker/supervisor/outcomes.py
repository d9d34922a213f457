"""`Outcomes`: verdicts on their way to Redis, in batches, held while it is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from redis.exceptions import NoPermissionError, OutOfMemoryError, RedisError

from taskq.registry import clock
from taskq.registry.runtime.faults import point
from taskq.registry.runtime.loop import Loop
from taskq.registry.runtime.server import Server, is_outage
from taskq.worker.runs.outbox import Batch, Outbox
from taskq.worker.runs.recording import finish_args, release_args
from taskq.worker.runs.run import Run
from taskq.worker.runs.statistics import Counts, add, count
from taskq.worker.runs.verdicts import Finish, Release, Verdict
from taskq.worker.supervisor.logs import Logs
from taskq.worker.supervisor.ride import Ride

log = logging.getLogger("taskq.worker")
# So many make a batch that leaves while another one is under way.
_PLENTY = 32
# What Redis says of no outcome in particular: it may take them later.
_REFUSALS = (NoPermissionError, OutOfMemoryError)
_REFUSED = ("MISCONF ", "NOREPLICAS ")


class Outcomes(Loop):
    """Records outcomes with finish.lua and gives runs back with release.lua.

    Both check the lease's token, so that sending again after a lost reply does no harm. What was settled while a call is
    under way leaves with the next one, so that batches grow with the load, and nothing waits for company. Two calls may be under way: under
    load the server then has the next one at hand while this process reads what the last one did. An item that Redis refuses by
    itself is dropped with a line in the log; its lease then expires, and the run is swept like any lost one.

    Statistics are written by the same call, if it recorded all of its outcomes. If it did not, the server has counted none of
    them, and those that it did record are counted with the next call.

    Args:
        server: where to. ``worker``: our name. ``logs``: written before the outcome of the run that they belong to.

    Attributes:
        ride: takes a claim along when outcomes leave.
    """

    def __init__(self, server: Server, worker: str, logs: Logs) -> None:
        super().__init__(server, "outcomes")
        self._worker, self._logs = worker, logs
        self._settings = server.settings
        self._box = Outbox()
        self._beside = _Beside(server, self)
        self._uncounted: Counts = {}
        self._wake, self._plenty = asyncio.Event(), asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.ride = Ride()
        self.succeeded = self.failed = 0
        self.working_time = 0.0

    def settle(self, run: Run, verdict: Verdict) -> None:
        """Take in a verdict; it leaves soon."""
        point("worker.settled")
        self._box.add(run, verdict)
        self._empty.clear()
        self._wake.set()
        if len(self._box.waiting) >= _PLENTY:
            self._plenty.set()

    def held(self) -> Iterator[Run]:
        """Runs whose outcome Redis has not confirmed."""
        return self._box.runs()

    def unconfirmed(self) -> int:
        """How many these are."""
        return len(self._box)

    def full(self) -> bool:
        """Whether so much is held that no more runs should be begun."""
        return self._box.full

    async def flushed(self, seconds: float) -> bool:
        """Waits until nothing is pending, at most so long; returns whether that is so."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def start(self) -> None:
        super().start()
        self._beside.start()

    async def stop(self) -> None:
        await self._beside.stop()
        await super().stop()

    async def run(self) -> None:
        while True:
            # First what an outage has interrupted: nobody rings for it again.
            try:
                while self._box.waiting or self._uncounted:
                    if await self._log_first():
                        continue
                    self.ride.expected = True
                    await self._leave()
            finally:
                self.ride.missed()
            if not self._box:
                self._empty.set()
            await self._wake.wait()
            self._wake.clear()

    async def send_beside(self) -> None:
        """Send a batch while another one is under way, as soon as there are enough for one."""
        if self._box.on_the_way and len(self._box.waiting) >= _PLENTY and not self._logs.crowded:
            await self._leave()
        else:
            self._plenty.clear()
            await self._plenty.wait()

    async def _log_first(self) -> bool:
        """Write lines, where there is nothing but outcomes of runs that have logged much: all others go ahead of them."""
        waiting = self._box.waiting
        if not self._logs.crowded or not waiting:
            return False
        waiting.sort(key=lambda item: self._logs.much(item[0].id))
        head = waiting[0][0].id
        if not self._logs.much(head):
            return False
        self.ride.missed()
        await self._logs.flush_part(head)
        return True

    async def _leave(self) -> None:
        """Send the first ones that wait; what was not confirmed waits again."""
        batch = self._box.take(self._logs.much)
        confirmed = False
        try:
            await self._logs.flush(run.id for run, _ in batch)
            await self._send(batch)
            confirmed = True
        finally:
            (self._box.confirm if confirmed else self._box.put_back)(batch)
            if not confirmed:
                self._wake.set()  # the other loop may have gone to sleep, and this one need not be the first
        if not self._box and not self._uncounted:
            self._empty.set()

    async def _send(self, batch: Batch) -> None:
        try:
            await self._write(batch)
        except RedisError as error:
            if is_outage(error) or isinstance(error, _REFUSALS) or str(error).startswith(_REFUSED):
                raise
            if not batch:  # counts alone: sent again and again they would be refused without end
                log.error("statistics are refused and dropped: %s", error)  # noqa: TRY400  # Redis' reply says it all
                self._uncounted.clear()
                return
            if len(batch) == 1:
                run = batch[0][0]
                log.error("the outcome of run %s is refused and dropped: %s", run.id, error, extra=run.about)  # noqa: TRY400  # Redis' reply says it all
                return
            for item in batch:
                await self._send([item])

    async def _write(self, batch: Batch) -> None:
        finishes = [(run, verdict) for run, verdict in batch if isinstance(verdict, Finish)]
        releases = [(run, verdict) for run, verdict in batch if isinstance(verdict, Release)]
        point("worker.recording")
        if finishes or self._uncounted:
            await self._finish(finishes)
        if releases:
            await self._release(releases)
        point("worker.recorded")

    async def _finish(self, finishes: Sequence[tuple[Run, Finish]]) -> None:
        # Another call may be under way: each count goes along with one.
        earlier, self._uncounted = self._uncounted, {}
        counted = False
        try:
            counts = {key: dict(fields) for key, fields in earlier.items()}
            if self._settings.stats:
                count(finishes, counts)
            words = await self._call(finish_args(finishes, self._settings, counts=counts))
            counted = not words
        finally:
            if not counted:
                add(earlier, self._uncounted)
        self._note(finishes, words)

    async def _call(self, args: list[Any]) -> list[bytes]:
        """Record, and take runs along where there is room for some; returns what finish.lua does."""
        keys = self.server.keys
        boarded = self.ride.board()
        if boarded is None:
            replies: list[bytes] = await self.server.call(
                "finish", [keys.leases, keys.lease, keys.events], [keys.rq, keys.prefix, self._worker, *args]
            )
            return replies
        queues, wanted = boarded
        claimed: list[Any] | None = None
        try:
            lease = int(self._settings.lease * 1000)
            names = [keys.leases, keys.lease, keys.fence, keys.revision, keys.events, *queues]
            replies, claimed = await self.server.call("cycle", names, [keys.rq, keys.prefix, self._worker, lease, wanted, *args])
        finally:
            self.ride.land(claimed)
        return replies

    async def _release(self, releases: Sequence[tuple[Run, Release]]) -> None:
        keys = self.server.keys
        args: list[Any] = [keys.rq, keys.prefix]
        for run, release in releases:
            args += release_args(run, release, self._settings, worker=self._worker, now=self.server.now())
        names = [keys.leases, keys.lease, keys.parked_tasks, keys.events, keys.scheduler_runs, keys.scheduler_wake]
        replies = await self.server.call("release", names, args)
        for (run, release), reply in zip(releases, replies, strict=True):
            if reply == b"stale":
                log.info("run %s can't be given back: its lease is not ours any more", run.id, extra=run.about)
            elif self._settings.stats:
                count([(run, release)], self._uncounted)

    def _note(self, finishes: Sequence[tuple[Run, Finish]], words: Sequence[bytes]) -> None:
        """What has become of outcomes that were sent; no ``words``: all are recorded, and counted in the statistics."""
        now = clock.monotonic()
        for at, (run, finish) in enumerate(finishes):
            word = words[at] if words else b"ok"
            if word == b"ok":
                if run.began:
                    self.working_time += max(0.0, now - run.began)
                self.succeeded += finish.status == "finished"
                self.failed += finish.status == "failed"
                if words and self._settings.stats:
                    count([(run, finish)], self._uncounted)
            elif word == b"stale":
                why = "dropped: Redis has lost its state" if run.adrift else "refused as stale: another worker has taken it over"
                log.warning("the outcome of run %s is %s", run.id, why, extra=run.about)
            elif word != b"done":
                log.error("the outcome of run %s is refused and dropped: %s", run.id, word.decode("utf-8", "replace"), extra=run.about)


class _Beside(Loop):
    """The second call: sends while the first one is under way."""

    def __init__(self, server: Server, outcomes: Outcomes) -> None:
        super().__init__(server, "outcomes beside")
        self._outcomes = outcomes

    async def run(self) -> None:
        while True:
            await self._outcomes.send_beside()
