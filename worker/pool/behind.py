"""`Behind`: may runs wait behind what an executor works on, and for how long; `Prefetch`: how many are claimed only to wait there."""

from __future__ import annotations

from taskq.registry import clock
from taskq.worker.pool.handle import Handle
from taskq.worker.pool.pool import Pool
from taskq.worker.runs.averages import SHORT, Averages
from taskq.worker.runs.run import Run

# No head may keep others waiting for longer, whatever its task; and one of a short task for no longer than so many times its mean.
SLOW = 0.01
_TIMES = 4
# Whose runs take longer by the mean frees its executor too late for a run that waits here, where another worker may be free.
PATIENCE = 0.05
# How many runs a claim takes to wait in inboxes: at first where the queue held more than could start, and at most.
_FIRST, _MOST = 8, 4096


class Prefetch:
    """How many runs are claimed beyond those that can start at once.

    What waits in an inbox here can't be started by another worker that has nothing to do. So none are taken along while the queues hold
    no more than can start; and as long as they do hold more, each claim takes twice as many as the one before.
    """

    def __init__(self) -> None:
        self.most = 0

    def saw(self, *, more: bool) -> None:
        """A claim has taken as many as it wanted, so that there may be more; or all that there were."""
        self.most = min(_MOST, max(_FIRST, 2 * self.most)) if more else 0


class Behind:
    """Judges the heads of the inboxes of a pool by how long the runs of their tasks took of late."""

    def __init__(self, pool: Pool, averages: Averages) -> None:
        self._pool, self._averages = pool, averages

    def may_wait(self, handle: Handle) -> bool:
        """Whether runs may be sent behind what this executor works on: it is short, and does not take longer than such runs do."""
        head = handle.head
        if not isinstance(head, Run) or head.lane.name or head.solo or not self._averages.short(head.task):
            return False
        return not self._slow(handle, head, clock.monotonic(), SLOW)

    def ends_soon(self) -> bool:
        """Whether an executor may be free for a run that must be alone within the time for which such a run may wait here.

        Where runs share an executor nobody can say when it is free: then that is so.
        """
        now = clock.monotonic()
        return any(self._ends_soon(handle, now) for handle in self._pool.seated() if not handle.draining)

    def relieve(self) -> bool:
        """Take back what stands behind slow heads; returns whether anything stands behind any."""
        now, crowded = clock.monotonic(), False
        for handle in self._pool.seated():
            if handle.runs > 1 and handle.crowded:
                crowded = True
                head = handle.head
                if isinstance(head, Run) and self._slow(handle, head, now, SLOW):
                    handle.take_back()
        return crowded

    def _ends_soon(self, handle: Handle, now: float) -> bool:
        head = handle.head
        if not isinstance(head, Run) or head.lane.name:
            return True
        return (self._averages.mean(head.task) or 0.0) <= PATIENCE and not self._slow(handle, head, now, PATIENCE)

    def _slow(self, handle: Handle, head: Run, now: float, most: float) -> bool:
        """Whether a head takes longer than such runs do, or than ``most``. Its outcome may be on its way: then the executor has gone on."""
        usual = self._averages.mean(head.task) or SHORT
        return now - head.began > min(most, max(SHORT, _TIMES * usual)) and handle.process.page.begun <= head.number
