"""`Trials`: the first import of a version, in a throw-away executor.

Versions that wait at the same time share one executor, one after the other; what hangs in it, ends it or crashes it is
the version that was being imported, and the next one gets a fresh executor. Two executors work at a time, so that one that hangs
until its deadline does not hold up the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import Any

from taskq.registry.settings import Settings
from taskq.worker.link.protocol import ProtocolError
from taskq.worker.loading.catalog import Entry
from taskq.worker.pool.handle import Handle
from taskq.worker.pool.inbox import Left, VersionKey
from taskq.worker.pool.pool import Pool
from taskq.worker.runs import verdicts
from taskq.worker.runs.run import Run

log = logging.getLogger("taskq.worker")
_AT_ONCE = 2


@dataclass(slots=True, frozen=True)
class Tried:
    """How a trial went: ``error`` is None if it went well; ``load_ms`` how long the import took."""

    error: str | None
    load_ms: float | None = None


class Throwaway:
    """Watches an executor that has no seat: it gets no runs, and only its deadlines and its end matter."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def began(self, handle: Handle) -> None:
        self._pool.deadlines.watch(handle)

    def finished(self, handle: Handle, run: Run, report: dict[str, Any]) -> None:
        """It has no runs."""

    def logged(self, run: Run, lines: Any) -> None:
        """It has no runs."""

    def load_failed(self, handle: Handle, version: VersionKey, error: str) -> None:
        """The answer says so as well."""

    def gone(self, handle: Handle, returncode: int, left: list[Left]) -> None:
        del returncode, left
        self._pool.forget(handle)


class Trials:
    """Tries versions.

    Args:
        pool: starts the executors. ``settings``: ``load_timeout``.
    """

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool, self._timeout = pool, settings.load_timeout
        self._waiting: deque[tuple[Entry, asyncio.Future[Tried]]] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    async def attempt(self, entry: Entry) -> Tried:
        """Try a version that was fetched; returns when it is known how it went. Raises OSError if no executor can be started."""
        future: asyncio.Future[Tried] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, future))
        if len(self._workers) < _AT_ONCE:
            worker = asyncio.create_task(self._work(), name="trial of versions")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        return await future

    async def stop(self) -> None:
        """End what is being tried."""
        for worker in list(self._workers):
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self) -> None:
        handle: Handle | None = None
        try:
            while self._waiting:
                entry, future = self._waiting.popleft()
                try:
                    if handle is None or handle.dead:
                        handle = await self._pool.spawn(Throwaway(self._pool))
                    tried = await self._try(handle, entry)
                except Exception as error:  # noqa: BLE001  # handed to who waits for this trial; the worker goes on with the next
                    if not future.done():
                        future.set_exception(error)
                except BaseException:
                    future.cancel()
                    raise
                else:
                    if not future.done():
                        future.set_result(tried)
        finally:
            self._workers.discard(asyncio.current_task())  # at once: who asks from now on needs another
            self._dismiss(handle)

    async def _try(self, handle: Handle, entry: Entry) -> Tried:
        try:
            ask = handle.load(entry.key, entry.body or {}, self._timeout)
        except ProtocolError as error:
            return Tried(str(error))
        answer = await ask.answer
        if answer is not None and answer.get("ok"):
            milliseconds = answer.get("ms")
            return Tried(None, float(milliseconds) if isinstance(milliseconds, int | float) else None)
        return Tried(explain(answer, self._timeout, late=handle.late))

    def _dismiss(self, handle: Handle | None) -> None:
        if handle is None or handle.dead:
            return
        if handle.loaded and not handle.inbox and not self._pool.stopping and not self._pool.idle():
            self._pool.keep_as_standby(handle)
        else:
            handle.kill()


def explain(answer: dict[str, Any] | None, timeout: float, *, late: bool) -> str:
    """Why a load did not go well, for people."""
    if late:
        return f"its import timed out after {timeout:g} s"
    died = answer.get("died") if answer else None
    if isinstance(died, int):
        return f"its import ended the executor: {verdicts.describe_exit(died)}"
    return str(answer.get("error")) if answer else "the executor died"
