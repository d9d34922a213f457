"""`Pool`: N seats with an executor each; one that dies is replaced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, Protocol

from taskq.registry import clock
from taskq.registry.backoff import Backoff
from taskq.registry.settings import Settings, executor_environment
from taskq.worker.link import descendants
from taskq.worker.link.process import ExecutorProcess
from taskq.worker.pool.deadlines import Deadlines
from taskq.worker.pool.handle import Handle, Left, VersionKey, Watcher
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

    Attributes:
        seats: the executor of each seat, None while it is being replaced.
        standby: one more, that has a version loaded because all others were busy; the first seat that falls empty gets it.
        stopping: no executor is replaced any more.
    """

    def __init__(self, settings: Settings, count: int, *, reap_orphans: bool = False) -> None:
        self.settings, self._reap_orphans = settings, reap_orphans
        self._environment = executor_environment(settings)
        self.seats: list[Handle | None] = [None] * count
        self.standby: Handle | None = None
        self.listener: Listener | None = None
        self.deadlines = Deadlines(lambda: self._all)
        self._all: set[Handle] = set()
        self._starting: set[int] = set()
        self._backoffs = [Backoff(0.1, 5.0) for _ in range(count)]
        self._refills: set[asyncio.Task[None]] = set()
        self.stopping = False
        self._emptied = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    # -- life cycle ----------------------------------------------------------------------------------------
    async def start(self, listener: Listener) -> None:
        """Fill all seats."""
        self.listener = listener
        await asyncio.gather(*(self._fill(index) for index in range(len(self.seats))))
        self._housekeep()

    def drain(self) -> None:
        """Have each executor finish what it has begun, hand back the rest and exit; none is replaced."""
        self.stopping = True
        for handle in list(self._all):
            handle.drain()

    async def stop(self, grace: float) -> None:
        """Returns once every executor is gone; what is not within ``grace`` seconds is killed."""
        self.stopping = True
        for task in list(self._refills):
            task.cancel()
        if grace > 0:
            await self._empty_within(grace)
        for handle in list(self._all):
            handle.kill()
        await self._empty_within(5.0)
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
        """Executors that may be given runs."""
        return (handle for handle in self.seats if handle is not None and not handle.dead)

    def running(self) -> int:
        """How many runs are in executors."""
        return sum(handle.runs for handle in self.seated())

    async def spawn(self, watcher: Watcher) -> Handle:
        """An executor that has no seat: a throw-away one. Who asked for it ends it.

        Raises:
            OSError: it can't be started.
        """
        process = ExecutorProcess.start(self._environment)
        self._starting.add(process.pid)
        try:
            handle = await Handle.start(process, watcher, max_result=self.settings.max_result, max_log=self.settings.log_lines)
        except BaseException:
            process.kill()
            raise
        finally:
            self._starting.discard(process.pid)
        self._all.add(handle)
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

    def idle(self) -> list[Handle]:
        """Executors that do nothing."""
        return [handle for handle in self.seated() if not handle.inbox]

    # -- Watcher -------------------------------------------------------------------------------------------
    def began(self, handle: Handle) -> None:
        self.deadlines.watch(handle)

    def finished(self, handle: Handle, run: Run, report: dict[str, Any]) -> None:
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
        if handle is self.standby:
            self.standby = None
        if handle in self.seats:
            index = self.seats.index(handle)
            self.seats[index] = None
            if not self.stopping:
                log.warning("executor %d ended by %s; it is replaced", handle.process.pid, verdicts.describe_exit(returncode))
                self._refill(index, 0.0 if handle.greeted else self._backoffs[index].next())
        if self.listener is not None:
            self.listener.died(handle, returncode, left)

    # -- seats ---------------------------------------------------------------------------------------------
    def _refill(self, index: int, delay: float) -> None:
        task = asyncio.create_task(self._fill(index, delay), name=f"executor {index}")
        self._refills.add(task)
        task.add_done_callback(self._refills.discard)

    async def _fill(self, index: int, delay: float = 0.0) -> None:
        handle: Handle | None = None
        while handle is None and not self.stopping:
            await asyncio.sleep(delay)
            handle, self.standby = self.standby, None
            if handle is not None and not handle.dead:
                break
            try:
                handle = await self.spawn(self)
            except OSError as error:
                delay = self._backoffs[index].next()
                log.error("an executor can't be started (%s); again in %.1f s", error, delay)  # noqa: TRY400  # the system says it all
        if handle is None or handle.dead:
            return
        if self.stopping:
            handle.kill()
            return
        self.seats[index] = handle
        if self.listener is not None:
            self.listener.seated(handle)

    def _reap(self) -> None:
        if self._reap_orphans:
            descendants.kill_orphans(self._starting | {handle.process.pid for handle in self._all})

    def _housekeep(self) -> None:
        """Each second: end a standby that is not needed any more, reap what fell to us, forgive seats that stand."""
        if self.standby is not None and self.idle():
            self.standby.kill()
        self._reap()
        for index, handle in enumerate(self.seats):
            if handle is not None and clock.monotonic() - handle.started > 10 * _SWEEP:
                self._backoffs[index].reset()
        self._timer = asyncio.get_running_loop().call_later(_SWEEP, self._housekeep)
