"""`Dispatch`: what was claimed goes to executors, or back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from taskq.registry import clock
from taskq.registry.errors import FormatUnknown, InvalidInput
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.serializer import load_params
from taskq.worker.link.protocol import ProtocolError
from taskq.worker.loading.catalog import Catalog, Entry
from taskq.worker.loading.loader import Loader
from taskq.worker.loading.routes import PUT_BACK, route
from taskq.worker.pool.handle import Handle, Request, VersionKey
from taskq.worker.pool.pool import Pool
from taskq.worker.runs import verdicts
from taskq.worker.runs.averages import DEPTH, Averages
from taskq.worker.runs.run import Run
from taskq.worker.runs.verdicts import Finish, Verdict
from taskq.worker.runtime.server import Server

log = logging.getLogger("taskq.worker")
# A head that takes longer than this gets no successors, and loses those it has.
_SLOW = 0.02
# How long a claimed run may wait here for an executor before another worker shall have it.
_PATIENCE = 0.05
_MIX_WEIGHT = 0.1
_MOSTLY_SHORT = 0.9

Settle = Callable[[Run, Verdict], None]


class Dispatch:
    """Runs between their claim and an executor; the listener of the pool.

    Args:
        server, pool, loader, catalog, snapshot: what it works with.
        settle: is given each run that has a verdict. ``write_log``: the lines of runs. ``room_made``: called when there may be room for claims.
    """

    def __init__(
        self,
        server: Server,
        pool: Pool,
        loader: Loader,
        catalog: Catalog,
        snapshot: Snapshot,
        *,
        settle: Settle,
        write_log: Callable[[Run, Any], None],
        room_made: Callable[[], None],
    ) -> None:
        self._server, self._pool, self._loader, self._catalog, self._snapshot = server, pool, loader, catalog, snapshot
        self._settle, self._write_log, self._room_made = settle, write_log, room_made
        self._averages = Averages()
        self._mix = 0.0  # share of short runs among the last ones
        self._backlog: deque[tuple[float, Run]] = deque()
        self._waiting: dict[VersionKey, list[Run]] = {}
        self._fetches: set[asyncio.Task[None]] = set()
        self._tick: asyncio.TimerHandle | None = None
        self.draining = False

    # -- room ----------------------------------------------------------------------------------------------
    def room(self) -> int:
        """How many runs may be claimed now. Where prefetch is on, small amounts are not worth a call while all are busy."""
        idle = free = seats = 0
        for handle in self._pool.seated():
            seats += 1
            idle += not handle.inbox
            free += DEPTH - handle.runs
        taken = len(self._backlog) + sum(map(len, self._waiting.values()))
        if self._mix < _MOSTLY_SHORT:
            return idle - taken
        return free - taken if idle or free >= seats * DEPTH // 2 else 0

    def held(self) -> Iterator[Run]:
        """All runs that are claimed and have no verdict."""
        for _, run in self._backlog:
            yield run
        for runs in self._waiting.values():
            yield from runs
        for handle in self._pool.seated():
            yield from (request for request in handle.inbox.values() if isinstance(request, Run))

    def heads(self) -> Iterator[Run]:
        """The runs that are in progress."""
        for handle in self._pool.seated():
            if isinstance(handle.head, Run):
                yield handle.head

    def executor_of(self, run: Run) -> Handle | None:
        """The executor that a run is in."""
        return next((handle for handle in self._pool.seated() if run in handle.inbox.values()), None)

    # -- in ------------------------------------------------------------------------------------------------
    def accept(self, runs: list[Run]) -> int:
        """Take in claimed runs, the snapshot being at least of the revision of their claim; returns how many were not put back."""
        kept = 0
        for run in runs:
            verdict = self._route(run)
            if verdict is not None:
                self._settle(run, verdict)
            kept += verdict is None or isinstance(verdict, Finish) or verdict.where == "park"
        return kept

    def _route(self, run: Run) -> Verdict | None:
        if self.draining:
            return verdicts.HAND_BACK
        version = route(self._snapshot.tasks.get(run.task), run.pin)
        if not isinstance(version, int):
            return version
        run.version = version
        entry = self._catalog.get((run.task, version))
        if entry is None or entry.state == "new":
            self._wait_for((run.task, version), run)
            return None
        if entry.state == "failed":
            if entry.due:
                self._wait_for(entry.key)
            return PUT_BACK
        return self._prepare(run, entry) or self._place(run, entry)

    def _prepare(self, run: Run, entry: Entry) -> Verdict | None:
        """Read and check the parameters."""
        assert entry.record is not None and entry.validator is not None, "a ready version was read"
        run.spec = entry.record.spec
        try:
            run.params = entry.validator.check(load_params(run.data))
        except FormatUnknown as error:
            log.warning("run %s is put back: %s", run.id, error)
            return PUT_BACK
        except InvalidInput as error:
            return Finish("failed", "invalid_parameters", str(error))
        run.data = b""
        return None

    def _place(self, run: Run, entry: Entry) -> Verdict | None:
        """Send it, or keep it for a moment."""
        short = self._averages.short(run.task)
        self._mix += _MIX_WEIGHT * (short - self._mix)
        handle = self._pick(entry, short=short)
        if handle is None:
            self._backlog.append((clock.monotonic(), run))
            self._arm()
            return None
        self._loader.give(handle, entry)
        try:
            handle.run(run)
        except ProtocolError as error:
            return Finish("failed", "invalid_parameters", str(error))
        entry.users += 1
        if handle.runs > 1:
            self._arm()
        return None

    def _pick(self, entry: Entry, *, short: bool) -> Handle | None:
        """An executor that is free, best one that has the version; for short runs else the one with the fewest."""
        best, best_rank = None, (DEPTH, True)
        for handle in self._pool.seated():
            if handle.draining or handle.stage:
                continue
            if handle.inbox and not (short and self._takes_more(handle)):
                continue
            rank = (len(handle.inbox), entry.key not in handle.loaded)
            if rank < best_rank:
                best, best_rank = handle, rank
        return best

    def _takes_more(self, handle: Handle) -> bool:
        head = handle.head
        if isinstance(head, Run):
            return self._averages.short(head.task) and clock.monotonic() - head.began < _SLOW
        return False

    # -- versions that are not there yet -------------------------------------------------------------------
    def _wait_for(self, key: VersionKey, run: Run | None = None) -> None:
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = []
            task = asyncio.create_task(self._fetch(key), name=f"runs of {key[0]} {key[1]}")
            self._fetches.add(task)
            task.add_done_callback(self._fetches.discard)
        if run is not None:
            waiting.append(run)

    async def _fetch(self, key: VersionKey) -> None:
        try:
            await self._loader.ensure(key)
        finally:
            # The route may have moved meanwhile: what waited is routed again.
            runs = self._waiting.pop(key, [])
            self.accept(runs)
            self._room_made()

    # -- out: the pool's listener --------------------------------------------------------------------------
    def seated(self, handle: Handle) -> None:
        self._loader.fill(handle)
        self._next()

    def finished(self, handle: Handle, run: Run, report: dict[str, Any]) -> None:
        del handle
        verdict = verdicts.on_report(run, report)
        self._left(run)
        if isinstance(verdict, Finish):
            milliseconds = report.get("ms")
            self._averages.add(run.task, milliseconds / 1000 if isinstance(milliseconds, int | float) else clock.monotonic() - run.began)
        elif report.get("reason") is None and not self.draining and run.stop is None:
            # Taken back from behind a slow one: perhaps another executor is free.
            run.began = 0.0
            self._backlog.append((clock.monotonic(), run))
            self._arm()
            self._next()
            return
        self._stamp(run)
        self._settle(run, verdict)
        self._next()

    def logged(self, run: Run, lines: Any) -> None:
        self._write_log(run, lines)

    def load_failed(self, handle: Handle, version: VersionKey, error: str) -> None:
        del handle
        self._loader.load_failed(version, error)

    def died(self, handle: Handle, returncode: int, requests: list[Request]) -> None:
        del handle
        for at, run in reversed(list(enumerate(requests))):
            if isinstance(run, Run):
                self._left(run)
                self._stamp(run)
                if run.stop != "lost":
                    begun = at == 0
                    self._settle(run, verdicts.on_executor_death(run, returncode) if begun else verdicts.HAND_BACK)
        self._next()

    def release_backlog(self) -> None:
        """Give back all that no executor has, the last one first, so that they keep their order at the front."""
        runs = [run for _, run in self._backlog] + [run for waiting in self._waiting.values() for run in waiting]
        self._backlog.clear()
        for waiting in self._waiting.values():
            waiting.clear()
        for run in reversed(runs):
            self._settle(run, verdicts.HAND_BACK)

    def forget(self, run: Run) -> None:
        """Its lease was taken over: it is no run of ours any more, wherever it stands here."""
        self._backlog = deque(item for item in self._backlog if item[1] is not run)
        for waiting in self._waiting.values():
            if run in waiting:
                waiting.remove(run)

    def _left(self, run: Run) -> None:
        entry = self._catalog.get((run.task, run.version))
        if entry is not None:
            entry.users -= 1
            entry.used = clock.monotonic()

    def _stamp(self, run: Run) -> None:
        if run.began and not run.started_at:
            run.started_at = self._server.now() - (clock.monotonic() - run.began)

    # -- the backlog ---------------------------------------------------------------------------------------
    def _next(self) -> None:
        """Something was freed: first who waits here, then claims."""
        for _ in range(len(self._backlog)):
            since, run = self._backlog.popleft()
            version = route(self._snapshot.tasks.get(run.task), run.pin)
            entry = self._catalog.get((run.task, run.version))
            if version != run.version or entry is None or entry.state != "ready":
                self._settle(run, verdicts.HAND_BACK)
                continue
            if self._pick(entry, short=self._averages.short(run.task)) is None:
                self._backlog.appendleft((since, run))
                break
            verdict = self._place(run, entry)
            if verdict is not None:
                self._settle(run, verdict)
        self._room_made()

    def _arm(self) -> None:
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_SLOW, self._look)

    def _look(self) -> None:
        """While runs wait anywhere here: take them back from behind slow heads, and let go of those that wait too long."""
        self._tick = None
        now = clock.monotonic()
        crowded = False
        for handle in self._pool.seated():
            if handle.runs > 1:
                crowded = True
                head = handle.head
                if isinstance(head, Run) and now - head.began > _SLOW:
                    handle.take_back()
        late: list[Run] = []
        while self._backlog and now - self._backlog[0][0] > _PATIENCE:
            late.append(self._backlog.popleft()[1])
        for run in reversed(late):
            self._settle(run, verdicts.HAND_BACK)
        if crowded or self._backlog:
            self._arm()

    async def stop(self) -> None:
        """End what waits."""
        if self._tick:
            self._tick.cancel()
        for task in list(self._fetches):
            task.cancel()
        await asyncio.gather(*self._fetches, return_exceptions=True)
