"""`Leases`: keeps what this worker holds its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from taskq.registry import clock
from taskq.registry.runtime.faults import point
from taskq.registry.runtime.loop import Loop
from taskq.registry.runtime.server import Server
from taskq.worker.runs.recording import event_of
from taskq.worker.runs.run import Run

log = logging.getLogger("taskq.worker")
_BATCH = 500
_NOTE_AFTER = 0.1


class Leases(Loop):
    """Renews each ``lease_renew``, and in between notes runs that have been in progress for 100 ms: their version, and RQ's execution.

    Short runs so cost no call; their version is recorded with their outcome, and nobody could have seen their execution. A run is
    marked as noted before the call, so that its outcome leaves nothing of that behind, whichever of the two is first at the server: where
    it is the outcome, there is no lease to renew.

    Args:
        server: where. ``held``: all runs whose lease is ours. ``heads``: those in progress: no other is noted, as its outcome may leave.
        on_lost: told of each run whose lease is not ours any more.
    """

    def __init__(
        self, server: Server, held: Callable[[], Iterable[Run]], heads: Callable[[], Iterable[Run]], on_lost: Callable[[Run], None]
    ) -> None:
        super().__init__(server, "leases")
        self._held, self._heads, self._on_lost = held, heads, on_lost
        self._every = server.settings.lease_renew

    async def run(self) -> None:
        due = clock.monotonic()  # after an outage at once
        while True:
            now = clock.monotonic()
            if now >= due:
                due = now + self._every
                await self._renew(list(self._held()))
            else:
                await self._renew([run for run in self._heads() if not run.noted and now - run.began >= _NOTE_AFTER])
            await asyncio.sleep(min(_NOTE_AFTER, self._every / 4))

    async def _renew(self, runs: Sequence[Run]) -> None:
        for at in range(0, len(runs), _BATCH):
            batch = runs[at : at + _BATCH]
            args: list[Any] = [self.server.keys.rq, int(self.server.settings.lease * 1000)]
            heads, starts = set(self._heads()), []
            for run in batch:
                run.noted = run.noted or run in heads
                event = ""
                if run in heads and not run.told:
                    event = event_of("started", run, self.server.settings)
                    starts.append(run)
                args += (run.id, run.token, run.version if run.noted else "", event)
            lost = await self._call(args, starts)
            point("worker.renewed")
            for run in batch:
                if run.token.encode() in lost:
                    self._on_lost(run)

    async def _call(self, args: list[Any], starts: Sequence[Run]) -> set[bytes]:
        """The tokens that hold no lease any more; a start that may have been told in vain is told again, at the latest with the outcome."""
        keys = self.server.keys
        for run in starts:
            run.told = True
        try:
            return set(await self.server.call("renew", [keys.leases, keys.lease, keys.events], args))
        except BaseException:
            for run in starts:
                run.told = False
            raise
