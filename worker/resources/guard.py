"""`Guard`: holds the runs of one worker to their limits, whatever the backend is."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass

from taskq.registry import clock
from taskq.registry.model.resources import Resources
from taskq.registry.model.worker import LimitsReport
from taskq.worker.pool.handle import Handle
from taskq.worker.resources import kernel
from taskq.worker.resources.backend import Backend, Cell
from taskq.worker.resources.choice import Wanted, choose
from taskq.worker.resources.watchdog import Watchdog
from taskq.worker.runs.run import Breach, Run

log = logging.getLogger("taskq.worker")
_AGAIN = 0.1
_FAREWELL = 2.0


@dataclass(slots=True, eq=False)
class _Held:
    """A run in progress that has limits, and the cell that holds it to them."""

    run: Run
    cell: Cell


class Guard:
    """Knows the cell of each executor that ever had a run with limits, and which run that is now.

    Args:
        wanted: `Settings.limits_by`. ``worker``: our name.

    Attributes:
        report: which backend it is and what it can't do; None before `start`.
    """

    def __init__(self, wanted: Wanted, worker: str) -> None:
        self._wanted, self._worker = wanted, worker
        self._backend: Backend = Watchdog("the worker has not started yet")
        self._watchdog = Watchdog("its control group is broken")
        self._cells: dict[Handle, Cell] = {}
        self._held: dict[Handle, _Held] = {}
        self._litter: list[Cell] = []
        self._timer: asyncio.TimerHandle | None = None
        self._told: set[tuple[str, str]] = set()
        self._kills = 0
        self._needed = False
        self.report: LimitsReport | None = None

    def start(self) -> None:
        """Choose the backend.

        Raises:
            Unsupported: the one that the settings demand does not work here.
        """
        self._backend = backend = choose(self._wanted, self._worker)
        self._kills = kernel.kills()
        self.report = LimitsReport(backend=backend.name, enforces=backend.enforces, lacks=backend.lacks)
        unlimited = [name for name in Resources.model_fields if name not in backend.enforces]
        told = f"; {', '.join(unlimited)} can't be enforced here" if unlimited else ""
        log.info("limits of resources are held by %s%s%s", backend.name, told, f" ({backend.lacks})" if backend.lacks else "")

    async def settle(self, handle: Handle) -> None:
        """An executor was started: where runs with limits are known to come, its cell is made before it has anything to do."""
        if not self._needed:
            return
        try:
            cell = await asyncio.to_thread(self._backend.cell, handle.process.pid)
        except OSError as error:
            log.info("no control group yet for executor %d: %s", handle.process.pid, error)
            return
        if handle.dead:
            self._drop(cell)
        else:
            self._cells[handle] = cell

    # -- a run ---------------------------------------------------------------------------------------------
    def begin(self, handle: Handle, run: Run) -> None:
        """A run is about to be sent to an executor that is idle; does nothing if it has no limits."""
        limits = run.spec.resources if run.spec is not None else None
        if limits is None:
            return
        self._needed = True
        self._tell(run, limits)

        def breached(breach: Breach) -> None:
            log.warning("run %s of %s: %s", run.id, run.task, breach.error, extra=run.about)
            run.breach = breach
            handle.kill()

        try:
            if handle not in self._cells:
                self._cells[handle] = self._backend.cell(handle.process.pid)
            cell = self._cells[handle]
            cell.begin(limits, breached)
        except OSError as error:
            log.error("limits of run %s can't be set in its control group: %s; it is watched", run.id, error)  # noqa: TRY400  # the system says it all
            if handle in self._cells:
                self._cells[handle].end()  # some of them may be set, and nobody would lift them
            cell = self._watchdog.cell(handle.process.pid)
            cell.begin(limits, breached)
        self._held[handle] = _Held(run, cell)

    def finished(self, handle: Handle, run: Run) -> None:
        """A run has ended: what it left behind is killed."""
        held = self._held.get(handle)
        if held is not None and held.run is run:
            del self._held[handle]
            held.cell.end()
            self._kills = kernel.kills()  # what was killed in it was its own affair

    def gone(self, handle: Handle, returncode: int) -> None:
        """An executor is dead. The run with limits that was in it, if any, gets to know the limit that it died of."""
        held = self._held.pop(handle, None)
        breach = told = None
        if held is not None:
            told = held.run.breach  # by whom it was killed for it
            held.run.breach = breach = told or held.cell.breach(returncode)
            if held.cell is not self._cells.get(handle):
                self._drop(held.cell)
        self._forget(handle)
        if held is not None and breach is not None:
            if told is None:
                log.warning("run %s of %s: %s", held.run.id, held.run.task, breach.error, extra=held.run.about)
            self._kills = kernel.kills()
        elif returncode == -signal.SIGKILL and not handle.draining:
            self._look_at_the_machine(handle)

    def _forget(self, handle: Handle) -> None:
        cell = self._cells.pop(handle, None)
        if cell is not None:
            self._drop(cell)

    def _tell(self, run: Run, limits: Resources) -> None:
        for name in limits.wanted:
            if name not in self._backend.enforces and (run.task, name) not in self._told:
                self._told.add((run.task, name))
                log.warning("task %s limits %s, which is not enforced here (%s)", run.task, name, self._backend.lacks)

    def _look_at_the_machine(self, handle: Handle) -> None:
        kills, before = kernel.kills(), self._kills
        self._kills = kills
        if kills > before:
            told = "the kernel has killed a process for want of memory, executor %d perhaps: limit its tasks by resources"
            log.warning(told, handle.process.pid)

    # -- what is left --------------------------------------------------------------------------------------
    def _drop(self, cell: Cell) -> None:
        """Take a cell away; what was killed takes a moment to be gone."""
        if not cell.remove():
            self._litter.append(cell)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_AGAIN, self._clear)

    def _clear(self) -> None:
        self._timer = None
        cells, self._litter = self._litter, []
        for cell in cells:
            self._drop(cell)

    async def close(self) -> None:
        """Every executor is dead: leave nothing behind."""
        for handle in list(self._cells):
            self._forget(handle)
        deadline = clock.monotonic() + _FAREWELL
        while not (closed := self._backend.close()) and clock.monotonic() < deadline:
            await asyncio.sleep(_AGAIN / 5)
            self._clear()
        if not closed:
            log.warning("control groups of this worker are left behind; the next one here removes them")
        if self._timer is not None:
            self._timer.cancel()
