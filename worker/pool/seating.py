"""`Seating`: which executor gets a run, and how many more there is room for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from taskq.registry import clock
from taskq.worker.link.lanes import ALONE, Lane
from taskq.worker.pool.behind import Behind, Prefetch
from taskq.worker.pool.handle import Handle
from taskq.worker.pool.inbox import VersionKey
from taskq.worker.pool.pool import Pool
from taskq.worker.runs.averages import Averages
from taskq.worker.runs.run import Run

# Runs that may be in progress together wait in an executor for a slot only where theirs take less.
_SLOT = 0.02
_MIX_WEIGHT = 0.1
_MOSTLY_SHORT = 0.9
# How fast the share of runs that may be in progress together is learnt; beyond the second number it counts as all of them.
_KIND_WEIGHT = 0.25
_ALL_TOGETHER = 0.95
# For so long after a run that must be alone, one executor is spared for the next.
_SPARED = 5.0
# For so long after such a run found no executor, the one with the fewest runs gets no more.
_RESERVED = 0.2
_SUSPECTS = 10_000
_MORE = 32


class Seating:
    """Looks at the seats of a pool, and remembers how long runs took and of which kind they were.

    A run that must be alone (see `taskq.worker.link.lanes`) gets an executor of its own. Where runs are short, more stand in its inbox
    (`Averages.depth`), so that it does not wait for us between two of them. Runs that may be in progress together fill executors up to
    their slots, and where they are short some more, so that no slot waits for us: all executors, evenly, while nothing else comes; else
    as few as will do, so that one is left for those that must be alone. Where none is, the one with the fewest runs gets no more until
    it is free.

    A run that was in progress beside others when their executor died may be the one that killed it, and so may one that had ended and
    whose outcome is lost: it may have broken the link, or left a thread that crashes. It is a suspect, and gets an executor of its own
    from then on: so a crash is counted against the one that crashes, and no other is taken along twice. A run with
    limits of resources (`taskq.worker.resources`) gets one of its own as well: what two use together could not be told apart.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._averages = Averages()
        self.behind = Behind(pool, self._averages)
        self.prefetch = Prefetch()
        self._mix = 0.0  # share of short runs among the last ones
        self._depth = 1.0  # of inboxes, for the longest of the short ones among them
        self._together = 0.0  # share of runs that may be in progress together among the last ones
        self._lane, self._more = ALONE, 0  # of the last one of these, and how many more than slots an executor gets of them
        self._alone_at = self._refused_at = -_SPARED  # when the last run that must be alone was placed; was not placed
        self._dry_until = 0.0  # one that gets an executor of its own was not placed: until then inboxes are not filled
        self._suspects: OrderedDict[str, None] = OrderedDict()

    def learn(self, task: str, seconds: float) -> None:
        """A run of ``task`` took that long."""
        self._averages.add(task, seconds)
        self._mix += _MIX_WEIGHT * (self._averages.short(task) - self._mix)
        depth = self._averages.depth(task)
        self._depth = min(depth, self._depth + _MIX_WEIGHT * (depth - self._depth))

    def suspect(self, run: Run) -> None:
        """It was in progress in an executor that died, together with others, or had ended there and its outcome is lost."""
        self._suspects[run.id] = None
        if len(self._suspects) > _SUSPECTS:
            self._suspects.popitem(last=False)

    # -- room ----------------------------------------------------------------------------------------------
    def idle(self) -> bool:
        """Whether an executor has nothing to do."""
        return any(not handle.runs and not handle.draining for handle in self._pool.seated())

    def room(self, taken: int) -> int:
        """How many runs may be claimed while ``taken`` wait for an executor already."""
        alone = self._room_alone()
        if not self._lane.name or self._together <= 1 - _ALL_TOGETHER:
            return alone - taken
        reserved = self._reserved()
        slots = sum(self._slots(handle) for handle in self._pool.seated() if handle is not reserved)
        if self._together < _ALL_TOGETHER:  # so many that those among them which must be alone find an executor
            slots = min(slots, int(max(alone, 1) / (1 - self._together)))
        return max(alone, slots) - taken

    def _room_alone(self) -> int:
        """The same for runs that must be alone.

        Nothing is claimed to stand behind a slow run. Where inboxes are filled, a few free places are not worth a call as long as all
        executors have something to do.
        """
        idle = free = fillable = 0
        depth = int(self._depth)
        for handle in self._pool.seated():
            if handle.draining:
                continue
            if not handle.inbox:
                idle += 1
            elif handle.runs and not self.behind.may_wait(handle):
                continue
            fillable += 1
            free += max(0, depth - handle.runs)
        if self._mix < _MOSTLY_SHORT or clock.monotonic() < self._dry_until:
            return idle
        worth = idle or free >= max(1, fillable * depth // 2)
        return min(free, idle + self.prefetch.most) if worth else 0

    def _slots(self, handle: Handle) -> int:
        if handle.draining or (handle.runs and handle.lanes.alone):
            return 0
        waiting = handle.queued(self._lane)
        if waiting is None:
            return 0
        return max(0, self._lane.slots + self._more - handle.lanes.count(self._lane.name) - waiting)

    def _reserved(self) -> Handle | None:
        """The executor that gets no more runs, so that one which must be alone gets it soon."""
        if clock.monotonic() - self._refused_at > _RESERVED:
            return None
        shared = [handle for handle in self._pool.seated() if not handle.lanes.alone and not handle.draining]
        return min(shared, key=lambda handle: handle.runs, default=None)

    # -- who gets it ---------------------------------------------------------------------------------------
    def pick(self, run: Run, version: VersionKey, lane: Lane = ALONE) -> Handle | None:
        """An executor for a run of this version; None if there is none."""
        run.solo = (run.spec is not None and run.spec.resources is not None) or (bool(self._suspects) and run.id in self._suspects)
        if lane.name and not run.solo:
            return self._pick_together(version, lane)
        found = self._pick_alone(version, spread=run.solo)
        self._together -= _KIND_WEIGHT * self._together
        if found is not None:
            self._alone_at = clock.monotonic() if not run.solo else self._alone_at
            return found
        if run.solo:
            self._dry_until = clock.monotonic() + _RESERVED
        if not any(handle.lanes.alone for handle in self._pool.seated()):
            self._refused_at = clock.monotonic()
        return found

    def confine(self, handle: Handle, run: Run) -> None:
        """It is about to be sent there: where it has limits, they are set."""
        if run.solo and self._pool.guard is not None:
            self._pool.guard.begin(handle, run)

    def release(self, handle: Handle, run: Run) -> None:
        """It could not be sent."""
        if run.solo and self._pool.guard is not None:
            self._pool.guard.finished(handle, run)

    def _pick_alone(self, version: VersionKey, *, spread: bool) -> Handle | None:
        """One that is free, best one that has the version; for short runs else the one with the fewest."""
        depth = 1 if spread else self._averages.depth(version[0])
        best, best_rank, dry = None, (depth, True), clock.monotonic() < self._dry_until
        for handle in self._pool.seated():
            if handle.draining or handle.struck:
                continue
            if handle.runs and (depth <= 1 or dry or not self.behind.may_wait(handle)):
                continue
            rank = (len(handle.inbox), version not in handle.loaded)
            if rank < best_rank:
                best, best_rank = handle, rank
        return best

    def _pick_together(self, version: VersionKey, lane: Lane) -> Handle | None:
        """One with a free slot."""
        self._lane, self._more = lane, self._beyond(version[0], lane)
        self._together += _KIND_WEIGHT * (1.0 - self._together)
        spare = self._together < _ALL_TOGETHER and clock.monotonic() - self._alone_at < _SPARED
        reserved = self._reserved()
        best: Handle | None = None
        best_rank: tuple[bool, bool, int, bool] | None = None
        idle = shared = 0
        for handle in self._pool.seated():
            if handle.draining:
                continue
            idle += not handle.runs
            shared += handle.lanes.total > 0 and not handle.lanes.alone
            if handle is reserved or not self._fits(handle, lane):
                continue
            rank = (handle.struck > 0, spare and not handle.runs, handle.runs, version not in handle.loaded)
            if best_rank is None or rank < best_rank:
                best, best_rank = handle, rank
        if best is not None and not best.runs and spare and idle == 1 and shared:
            return None
        return best

    def _beyond(self, task: str, lane: Lane) -> int:
        """How many runs may wait in an executor for a slot."""
        mean = self._averages.mean(task)
        return 0 if mean is None or mean >= _SLOT else min(_MORE, (lane.slots + 1) // 2)

    def _fits(self, handle: Handle, lane: Lane) -> bool:
        if not handle.runs:
            return True
        if handle.lanes.alone:
            return False
        waiting = handle.queued(lane)
        if waiting is None or (handle.struck and waiting):
            return False
        return handle.lanes.count(lane.name) + waiting < lane.slots + self._more

    # -- who is where --------------------------------------------------------------------------------------
    def runs(self) -> Iterator[Run]:
        """All runs in executors."""
        for handle in self._pool.seated():
            yield from (request for request in handle.inbox.values() if isinstance(request, Run))

    def heads(self) -> Iterator[Run]:
        """The runs that are in progress."""
        for handle in self._pool.seated():
            yield from (request for request in handle.begun.values() if isinstance(request, Run))

    def executor_of(self, run: Run) -> Handle | None:
        """The executor that a run is in."""
        return next((handle for handle in self._pool.seated() if handle.inbox.get(run.number) is run), None)
