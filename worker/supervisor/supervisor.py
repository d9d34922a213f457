"""`Supervisor`: puts the parts of one worker together; how it starts, drains and stops."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any

from redis.exceptions import RedisError

from taskq.registry import clock
from taskq.registry.errors import Conflict
from taskq.registry.feed.feed import Feed
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.runtime.health import HealthFile
from taskq.registry.runtime.loop import unless
from taskq.registry.runtime.server import Server, is_outage
from taskq.registry.settings import Settings
from taskq.worker.life.epoch import Epoch
from taskq.worker.life.heartbeat import Heartbeat, Vitals
from taskq.worker.life.namesake import earlier_worker_is_gone
from taskq.worker.life.plan import Plan
from taskq.worker.life.scaling import Scaling
from taskq.worker.link.remains import end_remains
from taskq.worker.loading.catalog import Catalog
from taskq.worker.loading.inspections import Inspections
from taskq.worker.loading.loader import Loader
from taskq.worker.loading.reports import Reports
from taskq.worker.loading.trials import Trials
from taskq.worker.pool.pool import Pool
from taskq.worker.pool.seating import Seating
from taskq.worker.resources.guard import Guard
from taskq.worker.runs.run import Run
from taskq.worker.runs.verdicts import Verdict
from taskq.worker.supervisor.claims import Claims
from taskq.worker.supervisor.dispatch import Dispatch
from taskq.worker.supervisor.doubts import Doubts
from taskq.worker.supervisor.leases import Leases
from taskq.worker.supervisor.logs import Logs
from taskq.worker.supervisor.order import Order
from taskq.worker.supervisor.outcomes import Outcomes
from taskq.worker.supervisor.requests import Requests
from taskq.worker.supervisor.sweeper import Sweeper

log = logging.getLogger("taskq.worker")
_GRACE = 10.0
# What a cancelled run gets to stop once the grace is over, before SIGKILL.
_LAST_CALL = 0.5
_LOOK = 0.02
_FLUSH = 5.0
# What Redis gets for handing back, while runs wait to be drained.
_TIDY = 1.0
_PRELOAD = 5.0


class Supervisor:
    """One worker.

    Args:
        settings: of the process. ``plan``: of this worker.
    """

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self.plan, self.settings = plan, settings
        self.server = server = Server(settings, Keys(settings.namespace, settings.rq_prefix), "runs go on, outcomes are held")
        self.snapshot, self.catalog, self.reports = Snapshot(), Catalog(), Reports()
        self.pool = Pool(settings, plan.executors, reap_orphans=plan.dedicated, wear=plan.wear)
        self.seating = Seating(self.pool)
        self.pool.guard = self.guard = Guard(settings.limits_by, plan.worker)
        self.epoch = Epoch(server, self._state_lost)
        self.heartbeat = Heartbeat(
            server,
            plan.worker,
            plan.queues,
            self.reports,
            self._vitals,
            epoch=self.epoch,
            on_asked=lambda asked: self.requests.read(asked),  # noqa: PLW0108  # `requests` is made below
            health=HealthFile(plan.health) if plan.health else None,
        )
        self.loader = Loader(
            server,
            self.pool,
            Trials(self.pool, settings),
            self.catalog,
            self.snapshot,
            self.reports,
            queues=plan.queues,
            on_applied=self.heartbeat.poke,
        )
        self.feed = Feed(server.redis, server.keys, settings, self.snapshot, self.loader.changed, self._on_control, ready=server.ready)
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._registered = False
        self._remains: asyncio.Task[None] | None = None
        self._assemble()

    def _assemble(self) -> None:
        """The parts that runs pass through."""
        server, plan, settings = self.server, self.plan, self.settings
        self.inspections = Inspections(server, self.pool, settings)
        self.logs = Logs(server)
        self.outcomes = Outcomes(server, plan.worker, self.logs)
        self.dispatch = Dispatch(
            server,
            self.seating,
            self.loader,
            self.catalog,
            self.snapshot,
            settle=self._settle,
            write_log=self.logs.add,
            room_made=lambda: self.claims.room_made(),  # noqa: PLW0108  # `claims` is made below
        )
        self.claims = Claims(
            server,
            self.dispatch,
            self.feed,
            self.outcomes,
            worker=plan.worker,
            order=Order(plan.queues, plan.strategy),
            prospects=lambda: (self.snapshot.revision, self.catalog.states()),
            most=plan.max_jobs,
            max_idle=plan.max_idle,
            burst=plan.burst,
            on_end=self._claims_ended,
        )
        self.outcomes.ride.urgent = self.seating.idle
        self.doubts = Doubts(self.epoch, self.seating, self._forget)
        self.leases = Leases(server, self.held, self.seating.heads, self.doubts.lost)
        self.sweeper = Sweeper(server, self.snapshot, self.held, worker=plan.worker, queues=plan.queues)
        most = plan.most_executors or plan.executors
        self.scaling = Scaling(server, self.pool, self.dispatch.room, queues=plan.queues, least=plan.executors, most=most)
        self.requests = Requests(
            plan.worker,
            self.pool,
            self.seating,
            self.dispatch,
            claimed=lambda: iter(self.claims.delivery.runs),
            settle=self._settle,
            started=lambda: self.heartbeat.started,
            drain=self._asked_to_drain,
            inspect=self.inspections.poke,
        )

    # -- life cycle ----------------------------------------------------------------------------------------
    async def work(self) -> None:
        """Start, work until `request_stop` (or until the claims have ended), drain and stop.

        Raises:
            Conflict: a live worker has this name.
        """
        try:
            await self._start()
            await self._stop.wait()
            await self._drain()
        finally:
            await self._end()

    def request_stop(self) -> None:
        """Drain and end; the second time: at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _start(self) -> None:
        if not await earlier_worker_is_gone(self.server, self.plan.worker):
            raise Conflict(f"a worker named {self.plan.worker} is alive", hint="give this one another --name")
        self._registered = True
        self.heartbeat.start()
        self.outcomes.start()
        self.logs.start()
        self.leases.start()
        await self.pool.start(self.dispatch)
        await unless(self._stop, self.feed.start())
        if self._stop.is_set():
            return
        self.loader.start()
        self.inspections.start()
        self.inspections.poke()
        await unless(self._stop, self.loader.preload(self.settings.preload, _PRELOAD))
        await self._take_over()
        self.sweeper.start()
        self.claims.start()
        self.scaling.start()
        if self.plan.dedicated:
            gc.collect()
            gc.freeze()  # what is here now stays: no collection, in the midst of a run's start, need look at it again
        self.heartbeat.starting = False
        self.heartbeat.poke()
        log.info("worker %s serves %s with %d executors", self.plan.worker, ", ".join(self.plan.queues), self.plan.executors)

    async def _take_over(self) -> None:
        if self.plan.dedicated:
            self.sweeper.on_dead = self._look_for_remains
            self._look_for_remains()
        try:
            await self.sweeper.take_over_from(self.plan.worker)
        except RedisError as error:
            if not is_outage(error):
                raise
            self.server.lost(error)  # then they expire

    def _look_for_remains(self) -> None:
        """Whoever was killed here may have left processes behind; the look through /proc keeps nobody waiting."""
        if self._remains is None or self._remains.done():
            self._remains = asyncio.create_task(self._end_remains(), name="remains")

    async def _end_remains(self) -> None:
        ended = await asyncio.to_thread(end_remains)
        if ended:
            log.warning("%d processes that runs of a killed worker had left behind are ended", len(ended))

    async def _drain(self) -> None:
        """Finish what has begun within the grace, hand back the rest."""
        self.heartbeat.draining = self.dispatch.draining = True
        self.heartbeat.poke()
        await self.claims.stop()
        await self.scaling.stop()
        await self._give_back_strays()
        for run in reversed(self.claims.delivery.runs):
            self.dispatch.accept([run])
        self.claims.delivery.runs = []
        self.dispatch.release_backlog()
        self.pool.drain()
        grace = self.plan.grace
        if grace is None:
            grace = max([_GRACE, *(run.grace for run in self.seating.heads())])
        log.info("worker %s drains: %d runs in progress, %g s at most", self.plan.worker, self.pool.running(), grace)
        deadline = clock.monotonic() + grace
        while self.pool.running() and not self._hurry.is_set() and clock.monotonic() < deadline:  # noqa: ASYNC110  # two conditions and a deadline
            await asyncio.sleep(_LOOK)
        if self.pool.running():
            await self._cut_short()

    async def _give_back_strays(self) -> None:
        """What a claim took whose reply nobody waits for any more goes back at once; `_end` does the same again."""
        try:
            async with asyncio.timeout(_TIDY):
                if not self.server.away:
                    await self.sweeper.give_back_strays()
        except (RedisError, OSError) as error:
            log.info("what was claimed last could not be given back yet: %s", error)

    async def _cut_short(self) -> None:
        """The grace is over: ask once, then SIGKILL. What was running is given back."""
        for handle in list(self.pool.seated()):
            handle.cancel_all("shutdown")
        deadline = clock.monotonic() + (0.0 if self._hurry.is_set() else _LAST_CALL)
        while self.pool.running() and clock.monotonic() < deadline:  # noqa: ASYNC110  # with a deadline
            await asyncio.sleep(_LOOK)

    async def _end(self) -> None:
        await self.claims.stop()
        await self.scaling.stop()
        await self.pool.stop(0.0)
        for part in (self.sweeper, self.inspections, self.loader, self.leases, self.doubts, self.dispatch):
            await part.stop()
        if not await self.outcomes.flushed(_FLUSH):
            log.error("%d outcomes could not be recorded; their runs are swept later", self.outcomes.unconfirmed())
        if self._remains is not None:
            await asyncio.wait([self._remains])
        await self.feed.stop()
        for loop in (self.outcomes, self.logs, self.heartbeat):
            await loop.stop()
        try:
            if self._registered and not self.server.away:
                await self.sweeper.give_back_strays()
                await self.heartbeat.remove()
        except (RedisError, OSError) as error:
            log.warning("the worker could not tidy up behind itself: %s", error)
        await self.server.close()

    # -- what the parts ask each other ---------------------------------------------------------------------
    def held(self) -> Iterator[Run]:
        """All runs whose lease is ours."""
        yield from self.claims.delivery.runs
        yield from self.dispatch.held()
        yield from self.outcomes.held()

    def _forget(self, run: Run) -> None:
        self.claims.delivery.forget(run)
        self.dispatch.forget(run)

    def _settle(self, run: Run, verdict: Verdict) -> None:
        self.claims.quota.count(verdict)
        self.outcomes.settle(run, verdict)

    def _state_lost(self) -> None:
        for run in self.held():
            run.adrift = True
        self.heartbeat.poke()

    def _claims_ended(self) -> None:
        self._stop.set()

    async def _on_control(self, message: dict[str, Any]) -> None:
        self.requests.hear(message)

    def _asked_to_drain(self) -> None:
        if not self._stop.is_set():
            log.info("worker %s was asked to drain", self.plan.worker)
            self._stop.set()

    def _vitals(self) -> Vitals:
        first = next(self.seating.heads(), None)
        return Vitals(
            revision=self.loader.applied,
            running=self.pool.running(),
            executors=len(self.pool.seats),
            current=first.id if first else "",
            succeeded=self.outcomes.succeeded,
            failed=self.outcomes.failed,
            working_time=self.outcomes.working_time,
            limits=self.guard.report,
        )
