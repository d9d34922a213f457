"""`Seating`: which executor gets a run, and how many more there is room for."""

from __future__ import annotations

from collections.abc import Iterator

from taskq.registry import clock
from taskq.worker.pool.handle import Handle, VersionKey
from taskq.worker.pool.pool import Pool
from taskq.worker.runs.averages import Averages
from taskq.worker.runs.run import Run

# A head that takes longer than this gets no successors, and loses those it has.
SLOW = 0.02
_MIX_WEIGHT = 0.1
_MOSTLY_SHORT = 0.9


class Seating:
    """Looks at the seats of a pool, and remembers how long runs took.

    An executor gets one run. Where runs are short, more stand in its inbox (`Averages.depth`), so that it does not wait for us
    between two of them.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._averages = Averages()
        self._mix = 0.0  # share of short runs among the last ones
        self._depth = 1.0  # of inboxes, for the longest of the short ones among them

    def learn(self, task: str, seconds: float) -> None:
        """A run of ``task`` took that long."""
        self._averages.add(task, seconds)
        self._mix += _MIX_WEIGHT * (self._averages.short(task) - self._mix)
        depth = self._averages.depth(task)
        self._depth = min(depth, self._depth + _MIX_WEIGHT * (depth - self._depth))

    def room(self, taken: int) -> int:
        """How many runs may be claimed while ``taken`` wait for an executor already.

        Where inboxes are filled, a few free places are not worth a call as long as all executors have something to do.
        """
        idle = free = seats = 0
        depth = int(self._depth)
        for handle in self._pool.seated():
            seats += 1
            idle += not handle.inbox
            free += max(0, depth - handle.runs)
        if self._mix < _MOSTLY_SHORT:
            return idle - taken
        return free - taken if idle or free >= seats * depth // 2 else 0

    def pick(self, version: VersionKey) -> Handle | None:
        """An executor that is free, best one that has the version; for short runs else the one with the fewest; None if there is none."""
        depth = self._averages.depth(version[0])
        best, best_rank = None, (depth, True)
        for handle in self._pool.seated():
            if handle.draining or handle.stage:
                continue
            if handle.inbox and not (depth > 1 and self._takes_more(handle)):
                continue
            rank = (len(handle.inbox), version not in handle.loaded)
            if rank < best_rank:
                best, best_rank = handle, rank
        return best

    def _takes_more(self, handle: Handle) -> bool:
        head = handle.head
        return isinstance(head, Run) and self._averages.short(head.task) and clock.monotonic() - head.began < SLOW

    def relieve(self) -> bool:
        """Take back what stands behind slow heads; returns whether anything stands behind any."""
        now, crowded = clock.monotonic(), False
        for handle in self._pool.seated():
            if handle.runs > 1:
                crowded = True
                head = handle.head
                if isinstance(head, Run) and now - head.began > SLOW:
                    handle.take_back()
        return crowded

    def runs(self) -> Iterator[Run]:
        """All runs in executors."""
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
