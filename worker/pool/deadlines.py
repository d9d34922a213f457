"""`Deadlines`: stops what is late, in bounded steps.

Only the head of an inbox can be late, so there are as many deadlines as executors. One timer is armed at the earliest that was
ever asked for; when it fires, all heads are looked at. A run that ends in time costs one comparison.

The ladder of a run: CANCEL and a signal that interrupts the task (repeated each second) → half of the grace later SIGTERM to all that
it started → at the end of the grace SIGKILL of the executor and all below it. A version whose load is late has no ladder:
its executor is killed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable

from taskq.registry import clock
from taskq.worker.pool.handle import Handle
from taskq.worker.runs.run import Run, StopReason

_REPEAT = 1.0
# Stages of a head: on time, asked to stop, its descendants terminated, killed.
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
        """A new head began."""
        if handle.deadline < self._at:
            self._arm(handle.deadline)

    def stop(self, handle: Handle, why: StopReason) -> None:
        """Have the run in progress stopped, as if it were late now."""
        if isinstance(handle.head, Run) and handle.stage == RUNNING:
            handle.head.stop = why
            self._act(handle, clock.monotonic())
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
                self._act(handle, now)
            earliest = min(earliest, handle.deadline)
        self._arm(earliest)

    def _act(self, handle: Handle, now: float) -> None:
        run = handle.head
        if not isinstance(run, Run):
            handle.deadline, handle.late = math.inf, True
            handle.kill()
            return
        if handle.stage == RUNNING:
            handle.stage, handle.asked = ASKED, now
            run.stop = run.stop or "timeout"
        waited = now - handle.asked
        if waited >= run.grace or run.stop == "lost":
            handle.stage, handle.deadline = KILLED, math.inf
            handle.kill()
            return
        if waited >= run.grace / 2 and handle.stage == ASKED:
            handle.stage = TERMINATED
            handle.process.terminate_descendants()
        handle.cancel_head(run.stop or "timeout")
        steps = [now + _REPEAT, handle.asked + run.grace]
        if handle.stage == ASKED:
            steps.append(handle.asked + run.grace / 2)
        handle.deadline = min(steps)
