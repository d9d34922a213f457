"""`Deadlines`: stops what is late, in bounded steps.

Each request that is in progress has a deadline; a handle knows a time before which none of its own has come. One timer is armed at the
earliest of these that was ever asked for; when it fires, the requests of the executors that may be late are looked at. A run that ends in
time costs two comparisons, and moves no timer.

The ladder of a run: CANCEL and a signal that interrupts the task (repeated each second) → half of the grace later SIGTERM to all that
it started → at the end of the grace SIGKILL of the executor and all below it. What runs beside it is unharmed until then: the second
rung is left out where there is such, since nobody knows who has started which process; and what the SIGKILL takes along is handed
back. A version whose load is late has no ladder: its executor is killed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable

from taskq.registry import clock
from taskq.worker.pool.handle import Handle
from taskq.worker.pool.inbox import Request
from taskq.worker.runs.run import Run, StopReason

_REPEAT = 1.0
# Stages of a run: on time, asked to stop, its descendants terminated, killed.
RUNNING, ASKED, TERMINATED, KILLED = range(4)


class Deadlines:
    """The one timer.

    Args:
        handles: gives all executors, those of trials too.
    """

    def __init__(self, handles: Callable[[], Iterable[Handle]]) -> None:
        self._handles = handles
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, handle: Handle) -> None:
        """A request began there."""
        if handle.deadline < self._at:
            self._arm(handle.deadline)

    def stop(self, handle: Handle, run: Run, why: StopReason) -> None:
        """Have a run in progress stopped, as if it were late now; one that is not in progress there is left alone."""
        if handle.begun.get(run.number) is run and run.stage == RUNNING:
            run.stop = why
            self._act(handle, run, clock.monotonic())
            handle.deadline = min(handle.deadline, run.deadline)
            self.watch(handle)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer:
            self._timer.cancel()

    def _arm(self, when: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._at = when
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, when - clock.monotonic()), self._fire) if when < math.inf else None

    def _fire(self) -> None:
        now = clock.monotonic()
        earliest = math.inf
        for handle in list(self._handles()):
            if handle.deadline <= now:
                for request in list(handle.begun.values()):
                    if request.deadline <= now:
                        self._act(handle, request, now)
                handle.deadline = min((request.deadline for request in handle.begun.values()), default=math.inf)
            earliest = min(earliest, handle.deadline)
        self._arm(earliest)

    def _act(self, handle: Handle, run: Request, now: float) -> None:
        if not isinstance(run, Run):
            run.deadline, handle.late = math.inf, True
            handle.kill()
            return
        if run.stage == RUNNING:
            run.stage, run.asked = ASKED, now
            handle.struck += 1
            run.stop = run.stop or "timeout"
        waited = now - run.asked
        if waited >= run.grace or run.stop == "lost":
            run.stage, run.deadline = KILLED, math.inf
            handle.kill()
            return
        if waited >= run.grace / 2 and run.stage == ASKED:
            run.stage = TERMINATED
            if len(handle.begun) == 1:
                handle.process.terminate_descendants()
        handle.cancel(run, run.stop or "timeout")
        steps = [now + _REPEAT, run.asked + run.grace]
        if run.stage == ASKED:
            steps.append(run.asked + run.grace / 2)
        run.deadline = min(steps)
