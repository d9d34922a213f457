"""`Pool`: the executors of a worker: those in seats, those on trial, and one on standby."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, Protocol

from taskq.registry.settings import Settings, executor_environment
from taskq.worker.link import descendants, remains
from taskq.worker.link.process import ExecutorProcess
from taskq.worker.pool.deadlines import Deadlines
from taskq.worker.pool.handle import Handle, Watcher
from taskq.worker.pool.inbox import Left, VersionKey
from taskq.worker.pool.recycling import Wear
from taskq.worker.pool.seats import Seats
from taskq.worker.resources import kernel
from taskq.worker.resources.guard import Guard
from taskq.worker.runs import verdicts
from taskq.worker.runs.run import Run

log = logging.getLogger("taskq.worker")
_SWEEP = 1.0


class Listener(Protocol):
    """Who is told what happens in the seats."""

    def seated(self, handle: Handle) -> None:
        """An executor took a seat: it may be given runs."""

    def finished(self, handle: Handle, run: Run, report: dict[str, Any]) -> None:
        """See `Watcher`."""

    def logged(self, run: Run, lines: Any) -> None:
        """See `Watcher`."""

    def load_failed(self, handle: Handle, version: VersionKey, error: str) -> None:
        """See `Watcher`."""

    def died(self, handle: Handle, returncode: int, left: list[Left]) -> None:
        """The executor of a seat is dead; see `Watcher.gone`."""


class Pool:
    """The executors of one worker.

    Args:
        settings: limits and environment. ``count``: how many seats.
        reap_orphans: this process is a subreaper and starts nothing but executors, so whatever else falls to it is ended.
        wear: when an executor is replaced although it lives.

    Attributes:
        seats: where executors are given runs.
        standby: one more, that has a version loaded because all others were busy; the first seat that falls empty gets it.
        guard: holds runs to their limits; None where there are none to hold.
        stopping: no executor is replaced any more.
    """

    def __init__(self, settings: Settings, count: int, *, reap_orphans: bool = False, wear: Wear | None = None) -> None:
        self.settings, self._reap_orphans = settings, reap_orphans
        self._environment = executor_environment(settings) | {remains.MARK: remains.own_mark()}
        self.seats = Seats(count, wear or Wear(), spawn=lambda: self.spawn(self), standby=self._take_standby, seated=self._seated)
        self.standby: Handle | None = None
        self.guard: Guard | None = None
        self.listener: Listener | None = None
        self.deadlines = Deadlines(lambda: self._all)
        self._all: set[Handle] = set()
        self._starting: set[int] = set()
        self.stopping = False
        self._emptied = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    # -- life cycle ----------------------------------------------------------------------------------------
    async def start(self, listener: Listener) -> None:
        """Fill all seats."""
        self.listener = listener
        if self.guard is not None:
            self.guard.start()
        await self.seats.fill()
        self._housekeep()

    def drain(self) -> None:
        """Have each executor finish what it has begun, hand back the rest and exit; none is replaced."""
        self.stopping = self.seats.closed = True
        for handle in list(self._all):
            handle.drain()

    async def stop(self, grace: float) -> None:
        """Returns once every executor is gone; what is not within ``grace`` seconds is killed."""
        self.stopping = True
        self.seats.close()
        if grace > 0:
            await self._empty_within(grace)
        for handle in list(self._all):
            handle.kill()
        await self._empty_within(5.0)
        if self.guard is not None:
            await self.guard.close()
        self._reap()
        if self._timer:
            self._timer.cancel()
        self.deadlines.close()

    async def _empty_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self._all:
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            log.warning("%d executors still run after %.1f s", len(self._all), seconds)

    # -- who is there --------------------------------------------------------------------------------------
    def seated(self) -> Iterator[Handle]:
        """Executors that hold runs, or may be given some; those that are leaving are ``draining``."""
        return iter(self.seats)

    def running(self) -> int:
        """How many runs are in executors."""
        return sum(handle.runs for handle in self.seated())

    async def spawn(self, watcher: Watcher) -> Handle:
        """An executor that has no seat: a throw-away one. Who asked for it ends it.

        Raises:
            OSError: it can't be started.
        """
        process = ExecutorProcess.start(self._environment)
        kernel.offer(process.pid)
        self._starting.add(process.pid)
        try:
            limits = {"max_result": self.settings.max_result, "max_log": self.settings.log_lines, "max_log_bytes": self.settings.log_bytes}
            handle = await Handle.start(process, watcher, **limits)
        except BaseException:
            process.kill()
            process.wait()  # no handle will see its end
            process.socket.close()
            process.close()
            raise
        finally:
            self._starting.discard(process.pid)
        self._all.add(handle)
        if self.guard is not None and watcher is self:
            await self.guard.settle(handle)
        return handle

    def forget(self, handle: Handle) -> None:
        """An executor without a seat is dead. Each `Watcher.gone` of a spawned one must end here."""
        self._all.discard(handle)
        self._emptied.set()
        self._reap()

    def keep_as_standby(self, handle: Handle) -> None:
        """Keep a throw-away executor until a seat is free: all are busy, and it has what they don't have yet."""
        earlier, self.standby = self.standby, handle
        handle.watcher = self
        if earlier is not None:
            earlier.kill()

    def _take_standby(self) -> Handle | None:
        handle, self.standby = self.standby, None
        return handle if handle is not None and not handle.dead else None

    def _seated(self, handle: Handle) -> None:
        if self.listener is not None:
            self.listener.seated(handle)

    def idle(self) -> list[Handle]:
        """Executors that do nothing."""
        return [handle for handle in self.seated() if not handle.inbox and not handle.draining]

    # -- Watcher -------------------------------------------------------------------------------------------
    def began(self, handle: Handle) -> None:
        self.deadlines.watch(handle)

    def finished(self, handle: Handle, run: Run, report: dict[str, Any]) -> None:
        if run.solo and self.guard is not None:
            self.guard.finished(handle, run)
        if self.seats.count_runs:
            self.seats.ran(handle)
        if self.listener is not None:
            self.listener.finished(handle, run, report)

    def logged(self, run: Run, lines: Any) -> None:
        if self.listener is not None:
            self.listener.logged(run, lines)

    def load_failed(self, handle: Handle, version: VersionKey, error: str) -> None:
        if self.listener is not None:
            self.listener.load_failed(handle, version, error)

    def gone(self, handle: Handle, returncode: int, left: list[Left]) -> None:
        self.forget(handle)
        if self.guard is not None:
            self.guard.gone(handle, returncode)
        if handle is self.standby:
            self.standby = None
        if self.seats.vacate(handle) and not self.stopping:
            log.warning("executor %d ended by %s; it is replaced", handle.process.pid, verdicts.describe_exit(returncode))
        if self.listener is not None:
            self.listener.died(handle, returncode, left)

    def _reap(self) -> None:
        if self._reap_orphans:
            descendants.kill_orphans(self._starting | {handle.process.pid for handle in self._all})

    def _housekeep(self) -> None:
        """Each second: end a standby that is not needed any more, reap what fell to us, see to the seats."""
        if self.standby is not None and self.idle():
            self.standby.kill()
        self._reap()
        self.seats.housekeep()
        self._timer = asyncio.get_running_loop().call_later(_SWEEP, self._housekeep)
