"""`Waiting`: runs whose version is not here yet, kept until it is ready or has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from taskq.worker.loading.loader import Loader
from taskq.worker.pool.inbox import VersionKey
from taskq.worker.runs.run import Run


class Waiting:
    """One task a version, however many runs wait for it.

    Args:
        loader: gets the versions. ``again``: is given the runs once their version is ready or has failed.
    """

    def __init__(self, loader: Loader, again: Callable[[list[Run]], None]) -> None:
        self._loader, self._again = loader, again
        self._runs: dict[VersionKey, list[Run]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, key: VersionKey, run: Run | None = None) -> None:
        """Begin to get a version, and keep a run until then."""
        waiting = self._runs.get(key)
        if waiting is None:
            waiting = self._runs[key] = []
            task = asyncio.create_task(self._get(key), name=f"runs of {key[0]} {key[1]}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if run is not None:
            waiting.append(run)

    async def _get(self, key: VersionKey) -> None:
        try:
            await self._loader.ensure(key)
        finally:
            self._again(self._runs.pop(key, []))

    def __iter__(self) -> Iterator[Run]:
        for runs in self._runs.values():
            yield from runs

    def __len__(self) -> int:
        return sum(map(len, self._runs.values()))

    def take(self) -> list[Run]:
        """All that wait; they wait no longer."""
        runs = list(self)
        for waiting in self._runs.values():
            waiting.clear()
        return runs

    def remove(self, run: Run) -> None:
        """This one is not ours any more."""
        for waiting in self._runs.values():
            if run in waiting:
                waiting.remove(run)

    async def stop(self) -> None:
        """End what is under way; what waits is handed to ``again``."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
