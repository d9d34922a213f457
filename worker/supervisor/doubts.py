"""`Doubts`: what becomes of runs whose lease turns out not to be ours any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from taskq.worker.life.epoch import Epoch
from taskq.worker.pool.seating import Seating
from taskq.worker.runs.run import Run

log = logging.getLogger("taskq.worker")


class Doubts:
    """Tells leases that others have taken over from those of a Redis that has lost its state.

    The former runs go on elsewhere: here they are killed. The latter nobody else has: they go on.

    Args:
        epoch: is asked which it is. ``seating``: where runs are that executors have.
        forget: takes a run that none has out of wherever it stands.
    """

    def __init__(self, epoch: Epoch, seating: Seating, forget: Callable[[Run], None]) -> None:
        self._epoch, self._seating, self._forget = epoch, seating, forget
        self._doubted: list[Run] = []
        self._judging: asyncio.Task[None] | None = None

    def lost(self, run: Run) -> None:
        """A lease is not ours any more."""
        if run.adrift:
            return
        self._doubted.append(run)
        if self._judging is None or self._judging.done():
            self._judging = asyncio.create_task(self._judge(), name="lost leases")

    async def stop(self) -> None:
        """End what is being found out."""
        if self._judging is not None:
            self._judging.cancel()
            await asyncio.gather(self._judging, return_exceptions=True)

    async def _judge(self) -> None:
        try:
            await self._epoch.check()
        except (RedisError, OSError) as error:
            log.info("whether leases were taken over can't be told yet: %s", error)  # the next renewal finds them again
            self._doubted.clear()
        doubted, self._doubted = self._doubted, []
        for run in doubted:
            if not run.adrift:
                self._taken_over(run)

    def _taken_over(self, run: Run) -> None:
        handle = self._seating.executor_of(run)
        if handle is None:
            self._forget(run)
            return
        log.warning("the lease of run %s was taken over: executor %d is killed", run.id, handle.process.pid, extra=run.about)
        run.stop = "lost"
        handle.kill()
