"""`Seats`: the places for executors: filled, renewed without a gap, and more or fewer of them as it is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from taskq.registry import clock
from taskq.registry.backoff import Backoff
from taskq.worker.pool.handle import Handle
from taskq.worker.pool.recycling import Wear

log = logging.getLogger("taskq.worker")
_LOOK = 0.02
_STEADY = 10.0


class Seat:
    """A place for an executor: ``handle`` is None while there is none, ``relief`` the task that brings a fresh one for a worn one."""

    __slots__ = ("backoff", "handle", "relief")

    def __init__(self) -> None:
        self.handle: Handle | None = None
        self.backoff = Backoff(0.1, 5.0)
        self.relief: asyncio.Task[None] | None = None


class Seats:
    """The seats of a pool.

    Args:
        count: how many at first. ``wear``: when an executor is replaced although it lives.
        spawn: starts an executor. ``standby``: hands over one that is there already, or None.
        seated: told of each executor that took a seat, and before that of each that is about to: it is to be loaded then.

    Attributes:
        count_runs: whether ``ended`` is kept: how many runs have ended in each executor.
        closed: no seat is filled any more.
    """

    def __init__(
        self,
        count: int,
        wear: Wear,
        *,
        spawn: Callable[[], Awaitable[Handle]],
        standby: Callable[[], Handle | None],
        seated: Callable[[Handle], None],
    ) -> None:
        self._seats = [Seat() for _ in range(count)]
        self._wear, self._spawn, self._standby, self._seated = wear, spawn, standby, seated
        self._leaving: set[Handle] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.count_runs = wear.watched
        self.ended: dict[Handle, int] = {}
        self.closed = False

    def __len__(self) -> int:
        return len(self._seats)

    def __iter__(self) -> Iterator[Handle]:
        """The executors in seats, then those that have lost theirs and finish what they have begun."""
        for seat in self._seats:
            if seat.handle is not None and not seat.handle.dead:
                yield seat.handle
        if self._leaving:
            yield from [handle for handle in self._leaving if not handle.dead]

    @property
    def complete(self) -> bool:
        """Whether there is an executor in each seat."""
        return all(seat.handle is not None for seat in self._seats)

    async def fill(self) -> None:
        """Fill all seats; returns once they are."""
        await asyncio.gather(*(self._fill(seat, 0.0) for seat in list(self._seats)))

    def close(self) -> None:
        """Fill none any more."""
        self.closed = True
        for task in list(self._tasks):
            task.cancel()

    # -- more and fewer ------------------------------------------------------------------------------------
    def grow(self) -> None:
        """One seat more; its executor comes soon."""
        seat = Seat()
        self._seats.append(seat)
        self._in_background(self._fill(seat, 0.0))

    def shrink(self, handle: Handle) -> None:
        """One seat less: its executor finishes what it has begun, and exits."""
        seat = self._of(handle)
        if seat is not None:
            self._seats.remove(seat)
            self._let_go(handle)

    # -- deaths --------------------------------------------------------------------------------------------
    def vacate(self, handle: Handle) -> bool:
        """An executor is dead; returns whether it was in a seat, which is filled again then."""
        self._leaving.discard(handle)
        self.ended.pop(handle, None)
        seat = self._of(handle)
        if seat is None:
            return False
        seat.handle = None
        if not self.closed:
            self._in_background(self._fill(seat, 0.0 if handle.greeted else seat.backoff.next()))
        return True

    def housekeep(self) -> None:
        """Each second: forgive seats that stand, and look for worn executors."""
        for seat in self._seats:
            if seat.handle is not None and clock.monotonic() - seat.handle.started > _STEADY:
                seat.backoff.reset()
        if self._wear.watched:
            self._relieve_worn()

    def _of(self, handle: Handle) -> Seat | None:
        return next((seat for seat in self._seats if seat.handle is handle), None)

    def _let_go(self, handle: Handle) -> None:
        self._leaving.add(handle)
        self.ended.pop(handle, None)
        handle.drain()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="executor")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _fill(self, seat: Seat, delay: float) -> None:
        handle: Handle | None = None
        while handle is None and not self.closed:
            await asyncio.sleep(delay)
            handle = self._standby()
            if handle is not None:
                break
            try:
                handle = await self._spawn()
            except OSError as error:
                delay = seat.backoff.next()
                log.error("an executor can't be started (%s); again in %.1f s", error, delay)  # noqa: TRY400  # the system says it all
        if handle is None or handle.dead:
            return
        if self.closed or seat not in self._seats or seat.handle is not None:
            handle.kill()
            return
        seat.handle = handle
        self._seated(handle)

    # -- relief --------------------------------------------------------------------------------------------
    def ran(self, handle: Handle) -> None:
        """A run ended in it."""
        self.ended[handle] = ended = self.ended.get(handle, 0) + 1
        if ended == self._wear.runs:
            self._relieve_worn()

    def _relieve_worn(self) -> None:
        """Bring a fresh executor for the first worn one, unless one is on its way."""
        if self.closed or any(seat.relief is not None for seat in self._seats):
            return
        for seat in self._seats:
            handle = seat.handle
            why = self._wear.of(handle.process.pid, self.ended.get(handle, 0)) if handle is not None else None
            if handle is not None and why is not None:
                log.info("executor %d is replaced after %s", handle.process.pid, why)
                seat.relief = self._in_background(self._relieve(seat, handle))
                return

    async def _relieve(self, seat: Seat, worn: Handle) -> None:
        """Start and load a fresh executor, then let it have the seat."""
        try:
            fresh = await self._spawn()
            self._seated(fresh)
            while not fresh.dead and (fresh.inbox or not fresh.greeted):  # noqa: ASYNC110  # its loads have deadlines
                await asyncio.sleep(_LOOK)
            if fresh.dead:
                return
            if seat.handle not in (worn, None) or self.closed or seat not in self._seats:
                fresh.kill()
                return
            if seat.handle is worn:
                self._let_go(worn)
            seat.handle = fresh
            self._seated(fresh)
        except OSError as error:
            log.error("a fresh executor can't be started (%s); the worn one goes on", error)  # noqa: TRY400  # the system says it all
            await asyncio.sleep(seat.backoff.next())
        finally:
            seat.relief = None
