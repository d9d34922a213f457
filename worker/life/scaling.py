"""`Scaling`: executors as the backlog needs them, between a least and a most number.

One more when at two looks in a row all are busy and the queues hold runs; one less when one of them has had nothing to do for
``executor_idle`` seconds. One at a time, and a run in progress is never in the way: what goes has none, or finishes it first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from taskq.registry import clock
from taskq.registry.runtime.loop import Periodic
from taskq.registry.runtime.server import Server
from taskq.worker.pool.handle import Handle
from taskq.worker.pool.pool import Pool

log = logging.getLogger("taskq.worker")
_LOOK = 0.5


class Scaling(Periodic):
    """Looks each half second.

    Args:
        server: where the queues are. ``pool``: what is scaled. ``room``: for how many runs there is room now.
        queues: that we serve. ``least``, ``most``: executors.
    """

    def __init__(self, server: Server, pool: Pool, room: Callable[[], int], *, queues: Sequence[str], least: int, most: int) -> None:
        super().__init__(server, "scaling", _LOOK)
        self._pool, self._room, self._least, self._most = pool, room, least, most
        self._keys = [server.keys.rq_queue(queue) for queue in queues]
        self._short = False
        # Of each executor: since when, and with how many runs behind it, it has had nothing to do.
        self._idle: dict[Handle, tuple[float, int]] = {}
        if most > least:
            pool.seats.count_runs = True

    def start(self) -> None:
        if self._most > self._least:
            super().start()

    async def step(self) -> None:
        seats = self._pool.seats
        if len(seats) < self._most and seats.complete and self._room() <= 0 and await self._waiting():
            if self._short:
                log.info("runs wait: executor %d of at most %d is started", len(seats) + 1, self._most)
                seats.grow()
            self._short = not self._short
            return
        self._short = False
        longest = self._longest_idle()
        if longest is not None and len(seats) > self._least:
            log.info("an executor was idle for %g s: %d stay", self.server.settings.executor_idle, len(seats) - 1)
            seats.shrink(longest)

    async def _waiting(self) -> bool:
        async with self.server.redis.pipeline(transaction=False) as pipe:
            for key in self._keys:
                pipe.llen(key)
            return any(await pipe.execute())

    def _longest_idle(self) -> Handle | None:
        """The executor that has been idle for the longest time, if that is long enough."""
        now, before = clock.monotonic(), self._idle
        self._idle = {}
        for handle in self._pool.idle():
            ended = self._pool.seats.ended.get(handle, 0)
            since, then = before.get(handle, (now, ended))
            self._idle[handle] = (since if ended == then else now, ended)
        longest = min(self._idle, key=lambda handle: self._idle[handle][0], default=None)
        if longest is None or now - self._idle[longest][0] < self.server.settings.executor_idle:
            return None
        return longest
