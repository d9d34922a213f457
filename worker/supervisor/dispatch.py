"""`Dispatch`: what was claimed goes to executors, or back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from taskq.registry import clock
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.runtime.server import Server
from taskq.worker.link.protocol import ProtocolError
from taskq.worker.loading.catalog import Catalog, Entry
from taskq.worker.loading.loader import Loader
from taskq.worker.loading.routes import PUT_BACK, prepare, route
from taskq.worker.loading.waiting import Waiting
from taskq.worker.pool.behind import PATIENCE
from taskq.worker.pool.handle import Handle
from taskq.worker.pool.inbox import Fate, Left, VersionKey
from taskq.worker.pool.seating import Seating
from taskq.worker.runs import verdicts
from taskq.worker.runs.recording import retry_lines
from taskq.worker.runs.run import Run
from taskq.worker.runs.verdicts import Finish, Verdict

log = logging.getLogger("taskq.worker")
# How often is looked what waits, while anything waits anywhere here.
_TICK = 0.003

Settle = Callable[[Run, Verdict], None]


class Dispatch:
    """Runs between their claim and an executor; the listener of the pool.

    Args:
        server, seating, loader, catalog, snapshot: what it works with.
        settle: is given each run that has a verdict. ``write_log``: the lines of runs.
        room_made: called when there may be room for claims.
    """

    def __init__(
        self,
        server: Server,
        seating: Seating,
        loader: Loader,
        catalog: Catalog,
        snapshot: Snapshot,
        *,
        settle: Settle,
        write_log: Callable[[Run, Any], None],
        room_made: Callable[[], None],
    ) -> None:
        self._server, self._seating, self._loader, self._catalog, self._snapshot = server, seating, loader, catalog, snapshot
        self._settle, self._write_log, self._room_made = settle, write_log, room_made
        self._backlog: deque[tuple[float, Run]] = deque()
        # The route may move while a version is fetched: what waited for it is routed again.
        self._waiting = Waiting(loader, self._again)
        self._tick: asyncio.TimerHandle | None = None
        self.prefetch = seating.prefetch
        self.draining = False

    def room(self) -> int:
        """How many runs may be claimed now."""
        return self._seating.room(len(self._backlog) + len(self._waiting))

    def held(self) -> Iterator[Run]:
        """All runs that are claimed and have no verdict."""
        yield from (run for _, run in self._backlog)
        yield from self._waiting
        yield from self._seating.runs()

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
        if run.stop == "cancel" or self.draining:
            return verdicts.on_cancel(run) if run.stop == "cancel" else verdicts.HAND_BACK
        version = route(self._snapshot.tasks.get(run.task), run.pin)
        if not isinstance(version, int):
            return version
        run.version = version
        entry = self._catalog.get((run.task, version))
        if entry is None or entry.state == "new":
            self._waiting.add((run.task, version), run)
            return None
        if entry.state == "failed":
            if entry.due:
                self._waiting.add(entry.key)
            return PUT_BACK
        if entry.record is None or entry.validator is None:
            return PUT_BACK
        return prepare(run, entry.record.spec, entry.validator) or self._place(run, entry)

    def _place(self, run: Run, entry: Entry) -> Verdict | None:
        """Send it, or keep it for a moment."""
        handle = self._seating.pick(run, entry.key, entry.lane)
        if handle is None:
            self._backlog.append((clock.monotonic(), run))
            self._arm()
            return None
        self._loader.give(handle, entry)
        self._seating.confine(handle, run)
        try:
            handle.run(run)
        except ProtocolError as error:
            self._seating.release(handle, run)
            return Finish("failed", "invalid_parameters", str(error))
        entry.users += 1
        if handle.runs > 1:
            self._arm()
        return None

    def _again(self, runs: list[Run]) -> None:
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
        if (isinstance(verdict, Finish) or verdict.burned) and report["ms"] is not None:
            run.took = report["ms"] / 1000
            self._seating.learn(run.task, run.took)
        if isinstance(verdict, Finish):
            self._settle(run, verdict)
            self._next()
            return
        if verdict.where == "later":
            self._write_log(run, retry_lines(run, verdict, self._server.now()))
        elif report.get("reason") is None and not self.draining and run.stop is None:
            # Taken back from behind a slow one: perhaps another executor is free.
            run.began = run.started_at = 0.0
            self._backlog.append((clock.monotonic(), run))
            self._arm()
            self._next()
            return
        self._settle(run, verdict)
        self._next()

    def logged(self, run: Run, lines: Any) -> None:
        self._write_log(run, lines)

    def load_failed(self, handle: Handle, version: VersionKey, error: str) -> None:
        del handle
        self._loader.load_failed(version, error)

    def died(self, handle: Handle, returncode: int, left: list[Left]) -> None:
        del handle
        for run, fate in reversed(left):
            if isinstance(run, Run):
                self._left(run)
                if run.stop != "lost":
                    self._settle(run, self._lost_with_executor(run, fate, returncode))
        self._next()

    def _lost_with_executor(self, run: Run, fate: Fate, returncode: int) -> Verdict:
        if fate is Fate.WAITED and run.stop == "timeout":
            return verdicts.HAND_BACK  # what was ahead of it took its time
        if fate is Fate.CRASHED or run.stop is not None or run.breach is not None:
            return verdicts.on_executor_death(run, returncode)
        if fate is Fate.WAITED:
            return verdicts.HAND_BACK
        self._seating.suspect(run)
        return verdicts.on_death_beside(returncode)

    def release_backlog(self) -> None:
        """Give back all that no executor has, the last one first, so that they keep their order at the front."""
        runs = [run for _, run in self._backlog] + self._waiting.take()
        self._backlog.clear()
        for run in reversed(runs):
            self._settle(run, verdicts.HAND_BACK)

    def forget(self, run: Run) -> None:
        """Its lease was taken over: it is no run of ours any more, wherever it stands here."""
        self._backlog = deque(item for item in self._backlog if item[1] is not run)
        self._waiting.remove(run)

    def _left(self, run: Run) -> None:
        """It is in no executor any more."""
        entry = self._catalog.get((run.task, run.version))
        if entry is not None:
            entry.users -= 1
            if not entry.users:
                entry.used = clock.monotonic()
        if run.began:
            run.started_at = self._server.at(run.began)

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
            if self._seating.pick(run, entry.key, entry.lane) is None:
                self._backlog.appendleft((since, run))
                break
            verdict = self._place(run, entry)
            if verdict is not None:
                self._settle(run, verdict)
        self._room_made()

    def _arm(self) -> None:
        """Have a look soon; where runs wait for executors of which none is free soon, once all of those that came together are here."""
        at_once = bool(self._backlog) and not self._seating.behind.ends_soon()
        if at_once and self._tick is not None:
            self._tick.cancel()
        if at_once or self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(0.0 if at_once else _TICK, self._look)

    def _look(self) -> None:
        """While runs wait anywhere here: take them back from behind slow heads, and let go of those that wait too long, or in vain."""
        self._tick = None
        now = clock.monotonic()
        crowded = self._seating.behind.relieve()
        late: list[Run] = []
        patience = PATIENCE if self._seating.behind.ends_soon() else 0.0
        while self._backlog and now - self._backlog[0][0] >= patience:
            late.append(self._backlog.popleft()[1])
        for run in reversed(late):
            self._settle(run, verdicts.HAND_BACK)
        if crowded or self._backlog:
            self._arm()

    async def stop(self) -> None:
        """End what waits."""
        if self._tick:
            self._tick.cancel()
        await self._waiting.stop()
