"""`Loader`: has what the registry routes loaded, ahead of its first use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from redis.exceptions import RedisError

from taskq.registry import clock
from taskq.registry.code.validation import Validator
from taskq.registry.effects import run_async
from taskq.registry.errors import ServerUnreachable, TaskqError
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.model.record import TaskRecord
from taskq.registry.model.worker import LoadReport
from taskq.registry.runtime.faults import point
from taskq.registry.runtime.loop import Periodic
from taskq.registry.runtime.server import Server, is_outage
from taskq.worker.loading.catalog import Catalog, Entry
from taskq.worker.loading.reports import Reports
from taskq.worker.loading.routes import routed_versions
from taskq.worker.loading.stored import lane_of, load_order, read_version
from taskq.worker.loading.trials import Trials, explain
from taskq.worker.pool.handle import Handle
from taskq.worker.pool.inbox import Ask, VersionKey
from taskq.worker.pool.pool import Pool

log = logging.getLogger("taskq.worker")
_HOUSEKEEPING = 5.0
# A version that nothing routes is kept so long after its last run: pinned runs of it may follow.
_LINGER = 5.0
# Each one takes a connection.
_FETCHES = 8


class Loader(Periodic):
    """Works on changes as they come, several at a time; keeps the catalog tidy in between.

    Args:
        server, pool, trials, catalog, snapshot, reports: what it works with.
        queues: that this worker serves: it loads tasks of no others.
        on_applied: called when `applied` may have moved, or a report was written.
    """

    def __init__(
        self,
        server: Server,
        pool: Pool,
        trials: Trials,
        catalog: Catalog,
        snapshot: Snapshot,
        reports: Reports,
        *,
        queues: Iterable[str],
        on_applied: Callable[[], None],
    ) -> None:
        super().__init__(server, "loader", _HOUSEKEEPING)
        self._pool, self._trials, self._catalog, self._snapshot, self._reports = pool, trials, catalog, snapshot, reports
        self._queues, self._on_applied = frozenset(queues), on_applied
        self._timeout = server.settings.load_timeout
        self._making: dict[VersionKey, asyncio.Task[Entry]] = {}
        self._batches: dict[asyncio.Task[None], int] = {}
        self._seen = 0
        self._preloading = False
        self._fetching = asyncio.Semaphore(_FETCHES)

    # -- the applied revision ------------------------------------------------------------------------------
    @property
    def applied(self) -> int:
        """The revision up to which each change is loaded, or has failed."""
        return min(self._batches.values(), default=self._seen)

    async def changed(self, tasks: set[str]) -> None:
        """The snapshot moved: begin to apply. For `Feed`; returns at once."""
        floor, self._seen = min(self._seen, self._snapshot.revision), self._snapshot.revision
        if not self._preloading:
            return  # the first picture of the registry: `preload` chooses from it
        wanted = [task for task in tasks if self._serves(self._snapshot.tasks.get(task))]
        for task in wanted:
            self._catalog.ask_again(task, routed_versions(self._snapshot.tasks.get(task)))
        if wanted:
            batch = asyncio.create_task(self._apply(wanted), name="change of the registry")
            self._batches[batch] = floor
            batch.add_done_callback(self._applied)
        self.poke()
        self._on_applied()

    def _applied(self, batch: asyncio.Task[None]) -> None:
        self._batches.pop(batch, None)
        if not batch.cancelled() and (error := batch.exception()) is not None:
            log.error("a change could not be applied", exc_info=error)
        self.poke()
        self._on_applied()

    async def preload(self, count: int, seconds: float) -> None:
        """Load the ``count`` most recently changed tasks of our queues; returns after ``seconds`` at the latest and goes on behind."""
        self._preloading = True
        records = sorted(filter(self._serves, self._snapshot.tasks.values()), key=lambda record: -record.revision)
        batch = asyncio.create_task(self._apply([record.task for record in records[:count]]), name="preload")
        self._batches[batch] = 0
        self._seen = self._snapshot.revision
        batch.add_done_callback(self._applied)
        await asyncio.wait([batch], timeout=seconds)

    async def stop(self) -> None:
        """End all of it."""
        await super().stop()
        pending = [*self._batches, *self._making.values()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await self._trials.stop()

    def _serves(self, record: TaskRecord | None) -> bool:
        # The queue of a staged version is not in the task's record: whether we serve it is seen once it is read.
        return record is not None and (record.spec.queue in self._queues or record.route.staged is not None)

    async def _apply(self, tasks: list[str]) -> None:
        wanted = [(task, version) for task in tasks for version in routed_versions(self._snapshot.tasks.get(task))]
        entries = await asyncio.gather(*(self.ensure(key) for key in wanted))
        ready = [entry for entry in entries if entry.state == "ready" and self._served(entry)]
        await self._spread(ready)
        for entry in entries:
            if self._served(entry):
                self._report(entry)

    def _served(self, entry: Entry) -> bool:
        if entry.record is not None and entry.record.spec.queue in self._queues:
            return True
        record = self._snapshot.tasks.get(entry.key[0])
        return record is not None and record.spec.queue in self._queues

    def _report(self, entry: Entry) -> None:
        task, version = entry.key
        state = "ready" if entry.state == "ready" else "failed"
        error = None if state == "ready" else entry.error
        self._reports.put(
            LoadReport.parse(
                {"task": task, "version": version, "state": state, "load_ms": entry.load_ms, "error": error, "at": self.server.now()}
            )
        )
        self._on_applied()

    # -- one version ---------------------------------------------------------------------------------------
    async def ensure(self, key: VersionKey) -> Entry:
        """The entry of a version, ready or failed; callers at the same time share the work."""
        entry = self._catalog.entry(key)
        if not entry.due:
            return entry
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(self._make(entry), name=f"loading {key[0]} {key[1]}")
            task.add_done_callback(lambda _: self._making.pop(key, None))
        return await asyncio.shield(task)

    async def _make(self, entry: Entry) -> Entry:
        while True:
            try:
                if entry.body is None:
                    await self._fetch(entry)
                if not self._served(entry):
                    entry.fail("its queue is not served here")
                    return entry
                tried = await self._trials.attempt(entry)
            except (ServerUnreachable, RedisError) as error:
                if is_outage(error):
                    self.server.lost(error)
                    await self.server.ready()
                    continue
                entry.fail(str(error))
            except (TaskqError, OSError) as error:
                entry.fail(str(error))
            else:
                if tried.error is None:
                    entry.ready(tried.load_ms)
                else:
                    entry.fail(tried.error)
            if entry.state == "failed":
                task, version = entry.key
                why = entry.error.strip().rsplit("\n", 1)[-1]
                log.warning("%s %d can't be loaded: %s", task, version, why, extra={"task": task, "version": version})
                self._report(entry)
            return entry

    async def _fetch(self, entry: Entry) -> None:
        async with self._fetching:
            record, source = await run_async(read_version(self.server.keys, *entry.key), self.server.redis)
        entry.record, entry.validator = record, Validator(record.spec.parameters)
        entry.lane = lane_of(record, self.server.settings.async_slots)
        entry.body = load_order(record, source, entry.lane)
        point("worker.fetched")

    # -- in executors --------------------------------------------------------------------------------------
    async def _spread(self, entries: list[Entry]) -> None:
        """Give versions to all executors; returns when those that were idle have them."""
        asks = []
        for handle in self._pool.seated():
            idle = not handle.inbox
            for entry in entries:
                ask = self.give(handle, entry)
                if ask is not None and idle:
                    asks.append((entry, handle, ask))
        for entry, handle, ask in asks:
            answer = await ask.answer
            if answer is not None and not answer.get("ok"):
                entry.fail(explain(answer, self._timeout, late=handle.late))

    def give(self, handle: Handle, entry: Entry) -> Ask | None:
        """Have an executor load a version that was tried; None if it has it."""
        if entry.key in handle.loaded or entry.body is None or handle.dead or handle.draining:
            return None
        return handle.load(entry.key, entry.body, self._timeout)

    def fill(self, handle: Handle) -> None:
        """A new executor: it gets all that is routed."""
        for entry in self._catalog.ready():
            if entry.key[1] in routed_versions(self._snapshot.tasks.get(entry.key[0])):
                self.give(handle, entry)

    def load_failed(self, key: VersionKey, error: str) -> None:
        """What worked in its trial did not in an executor: no run of it is started until it was tried again."""
        entry = self._catalog.get(key)
        if entry is not None and entry.state == "ready":
            entry.fail(error)
            self._report(entry)

    # -- housekeeping --------------------------------------------------------------------------------------
    async def step(self) -> None:
        """Unload what nobody needs, and try again what a route names and failed."""
        now = clock.monotonic()
        for entry in self._catalog:
            task, version = entry.key
            if version in routed_versions(self._snapshot.tasks.get(task)) and self._served(entry):
                if entry.state == "failed" and entry.due and entry.key not in self._making:
                    await self._again(entry)
            elif entry.users == 0 and now - entry.used >= _LINGER and entry.key not in self._making:
                self._drop(entry)

    async def _again(self, entry: Entry) -> None:
        if (await self.ensure(entry.key)).state == "ready":
            await self._spread([entry])
            self._report(entry)

    def _drop(self, entry: Entry) -> None:
        for handle in self._pool.seated():
            handle.unload(entry.key)
        self._catalog.drop(entry.key)
        self._reports.drop(entry.key)
