"""`Claims`: takes runs off the queues as soon as there are some, and room for them.

An idle worker waits by a blocking move of a queue's head onto itself, which changes nothing and which all waiting workers see.
With one queue (the usual case) the claim rides right behind that look, on the same connection: Redis executes it in the moment in
which a run arrives, so that a lone run pays for one round trip instead of two, and for one fsync of the append-only file. The claim of a
worker whose machine has died is executed, too, if a run arrives before its look ends: that run then waits for its lease to expire. So
such a look is short. With several queues one claim can't ride behind each look (together they would take more than there is room for):
a look there only rings a bell, and the claim follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from taskq.registry import clock, scripts
from taskq.registry.feed.feed import Feed
from taskq.registry.runtime.asking import Asker
from taskq.registry.runtime.faults import point
from taskq.registry.runtime.loop import Loop
from taskq.registry.runtime.server import Server
from taskq.worker.runs.run import Run, claimed_runs
from taskq.worker.supervisor.dispatch import Dispatch
from taskq.worker.supervisor.order import Order, Standstill
from taskq.worker.supervisor.outcomes import Outcomes
from taskq.worker.supervisor.quota import Quota

log = logging.getLogger("taskq.worker")
_BELL = 2.0
_LOOK = 1.0
_BATCH = 128
# Waits after claims that yielded nothing: random up to a limit that doubles from the first to the last.
_FIRST_WAIT, _LAST_WAIT = 0.002, 1.0
_CALM = 4
# A lost race is like no more of them: the wait after it is one of at most 16 ms, since the winner may have no room for the next run.
_RACE = 2
# Length of claim.lua's reply without runs.
_NONE = 3
# Where in it stands whether there may be more.
_MORE = 2
# After so many claims in a row that yielded nothing the waits don't grow any more.
_LONG = 9
# Keys of claim.lua before those of the queues.
_QUEUES = 4
# How long a stop waits for a claim that is under way.
_LANDING = 1.0


class Bell(Loop):
    """Rings when a queue holds a run: a blocking move of its head onto itself, which all waiting workers see.

    It is set before each wait and rings at most once until it is set again.
    """

    def __init__(self, server: Server, queue: str, ring: Callable[[bool], None]) -> None:
        super().__init__(server, f"bell of {queue}")
        self._key = server.keys.rq_queue(queue)
        self._redis = server.blocking(_BELL)
        self._ring = ring
        self._set = asyncio.Event()

    def set(self) -> None:
        """Ring (once) as soon as there is a run."""
        self._set.set()

    async def run(self) -> None:
        while True:
            await self._set.wait()
            began = clock.monotonic()
            # `LEFT LEFT` onto the same list changes nothing; popping here could lose a run.
            try:
                head = await self._redis.blmove(self._key, self._key, _BELL, "LEFT", "LEFT")  # type: ignore[arg-type]  # seconds may be a float
            except ResponseError as error:
                if not _interrupted(error):
                    self._ring(False)  # a server that is full refuses the move, but no claim
                    raise
                continue
            if head is not None:
                self._set.clear()
                self._ring(clock.monotonic() - began > _FIRST_WAIT)


class Delivery:
    """What was claimed, until it is dispatched: not before the snapshot is as new as the claim.

    Args:
        server, dispatch, feed: what it works with.

    Attributes:
        runs: those that are claimed and not dispatched yet.
    """

    def __init__(self, server: Server, dispatch: Dispatch, feed: Feed) -> None:
        self._server, self._dispatch, self._feed = server, dispatch, feed
        self.runs: list[Run] = []

    def unpack(self, reply: list[Any], queues: Sequence[str]) -> list[Run]:
        """The runs of a claim from ``queues``, which are among `runs` from now on."""
        runs = claimed_runs(reply, queues, self._server.keys)
        if runs:
            point("worker.claimed")
            self._server.observe(reply[1] / 1000)
            self.runs += runs
        return runs

    def forget(self, run: Run) -> None:
        """Its lease was taken over: it is no run of ours any more."""
        self.runs = [other for other in self.runs if other is not run]

    def is_current(self, revision: int) -> bool:
        """Whether the snapshot is as new as a claim that returned ``revision``."""
        known = self._feed.snapshot.revision
        return revision == known and known > 0

    async def deliver(self, revision: int = 0) -> int:
        """Dispatch what is claimed, once the snapshot is as new as the claim; returns how many runs were not put back.

        Raises:
            ServerUnreachable: the snapshot is behind and Redis is away; what was claimed is kept for the next call.
        """
        if not self.runs:
            return 0
        if not self.is_current(revision):
            # Behind the snapshot is only a registry that was lost or put back: then all of it is read again.
            await self._feed.catch_up(revision if revision > self._feed.snapshot.revision else None)
        return self.hand_over()

    def hand_over(self) -> int:
        """Dispatch what is claimed now; as `deliver`."""
        runs, self.runs = self.runs, []
        kept = self._dispatch.accept(runs)
        point("worker.dispatched")
        return kept


class Claims(Loop):
    """Claims.

    Args:
        server, dispatch, feed, outcomes: what it works with. Outcomes that leave take a claim along if there is room (`Ride`).
        worker: our name. ``order``: of the queues. ``prospects``: what can be started here, see `Standstill`.
        most: after so many runs it ends; None for no end.
        max_idle: after so many seconds without a run it ends; None for never.
        burst: end when the queues are empty and nothing is held. ``on_end``: called when it has ended for one of these reasons.
    """

    def __init__(
        self,
        server: Server,
        dispatch: Dispatch,
        feed: Feed,
        outcomes: Outcomes,
        *,
        worker: str,
        order: Order,
        prospects: Callable[[], object],
        most: int | None = None,
        max_idle: float | None = None,
        burst: bool = False,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(server, "claims")
        self._dispatch, self._outcomes = dispatch, outcomes
        self._ride = outcomes.ride
        self._ride.wish, self._ride.landed = lambda: (self._turn(), self._wanted()), self.room_made
        self._order, self._terms, self._burst = order, (worker, int(server.settings.lease * 1000)), burst
        self._queues = order.queues
        self.quota = Quota(most, max_idle)
        keys = server.keys
        self._on_end = on_end
        self._keys = [keys.leases, keys.lease, keys.fence, keys.revision, *(keys.rq_queue(queue) for queue in order.queues)]
        self._room = asyncio.Event()
        self._rung = asyncio.Event()
        self._bells = [Bell(server, queue, self._ring) for queue in self._queues] if len(self._queues) > 1 else []
        self._asker = Asker(server.blocking(_LOOK), self._at_once)
        self._fruitless = 0
        self._standstill = Standstill(server, order.queues, prospects)
        self.delivery = Delivery(server, dispatch, feed)
        self._taken: tuple[list[Run], int] | None = None  # what `_at_once` did with the reply that `_take` is given next

    def room_made(self) -> None:
        """There may be room for more runs."""
        self._room.set()

    def _ring(self, waited: bool) -> None:
        self._came(waited)
        self._rung.set()

    def _came(self, waited: bool) -> None:
        if waited:
            # The queue was empty until now: what was fruitless before was a race, not a run that nobody here can start.
            self._fruitless = min(self._fruitless, _RACE)

    async def stop(self) -> None:
        await super().stop()
        for bell in self._bells:
            await bell.stop()
        # A claim that goes along with outcomes is not ended with this loop: what it takes is handed back like all that has not begun.
        deadline = clock.monotonic() + _LANDING
        while self._ride.under_way and clock.monotonic() < deadline:
            await self._something_ended()
        if (reply := self._ride.take()) is not None:
            self.delivery.unpack(reply, self._queues)

    async def run(self) -> None:
        self._taken = None
        await self.delivery.deliver()
        if not self._burst:
            for bell in self._bells:
                bell.start()
        hot = True
        self.quota.works()
        while not self._done():
            wait = not hot and not self._burst
            if wait and self._bells:
                await self._wait_for_ring()
            wanted = await self._wait_for_room()
            if not wanted:
                break
            hot, kept = await self._round(wanted, wait=wait and not self._bells)
            if kept is None and self._burst and not self._held():
                break
        while self._held():
            await self._something_ended()
        self._on_end()

    async def _wait_for_ring(self) -> None:
        for bell in self._bells:
            bell.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.quota.max_idle):
                await self._rung.wait()
        self._rung.clear()

    def _done(self) -> bool:
        if self.quota.max_idle is not None and self._held():
            self.quota.works()
        return self.quota.used_up() or self.quota.idle_for_too_long()

    async def _round(self, wanted: int, *, wait: bool) -> tuple[bool, int | None]:
        """Claim, and hand over what came; returns whether there may be more, and None if the queues were empty."""
        reply = rode = self._ride.take()
        if reply is None:
            if self._fruitless >= _LONG and not self._outcomes.unconfirmed() and await self._standstill.holds():
                await self._pause(0)
                return False, None
            reply = await self._look(wanted) if wait else await self._claim(wanted)
        if reply is None:
            return False, None
        self._dispatch.prefetch.saw(more=bool(reply[_MORE]))
        claimed, kept = await self._take(reply)
        if claimed or rode is None:  # a ride that found nothing is no lost race: now it waits for a run
            await self._pause(kept)
        more = bool(reply[_MORE])
        return more, kept if claimed or more else None

    async def _wait_for_room(self) -> int:
        """How many runs to claim, or were claimed with outcomes that left meanwhile; 0 once as many as are allowed have ended."""
        self._ride.offered = True
        try:
            while not self.quota.used_up():
                if self._ride.ready:
                    return self._ride.wanted
                wait = self._ride.under_way or (self._ride.expected and not self._ride.urgent())
                wanted = 0 if wait else self._wanted()
                if wanted > 0:
                    return wanted
                await self._something_ended()
                self.quota.works()  # who has no room is not idle
            return 0
        finally:
            self._ride.offered = False

    def _wanted(self) -> int:
        """How many runs there is room for; 0 or less for none."""
        room = 0 if self._outcomes.full() else self._dispatch.room()
        if room <= 0:
            return 0
        # Nothing but runs that can't start here: more at once, so that those behind them are soon reached.
        wanted = min(_BATCH, room << max(0, min(self._fruitless, 16) - _CALM))
        if not self.quota.counts:
            return wanted
        return min(wanted, self.quota.left(len(self.delivery.runs) + sum(1 for _ in self._dispatch.held())))

    def _turn(self) -> list[str]:
        """Put the queues in the order of the next claim; returns their keys."""
        if len(self._queues) > 1:
            # Where the first one holds nothing but what can't start here, those behind it get their turn.
            self._queues = self._order.next(in_turn=self._fruitless > _CALM)
            self._keys[_QUEUES:] = map(self.server.keys.rq_queue, self._queues)
        return self._keys[_QUEUES:]

    async def _something_ended(self) -> None:
        # The second is a net below `room_made`: nothing here may ever hang on one missed call.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._room.wait()
        self._room.clear()

    async def _pause(self, kept: int) -> None:
        """After claims that yielded nothing: workers that lost the race, or runs that can't be started here."""
        if kept:
            self._fruitless = 0
            await asyncio.sleep(0)  # the runs leave for their executors before the next call is made
            return
        self._fruitless += 1
        limit = min(_LAST_WAIT, _FIRST_WAIT * 2.0 ** min(self._fruitless, 16))
        await asyncio.sleep(random.uniform(0, limit))  # noqa: S311  # spreads workers, no secret

    def _held(self) -> bool:
        return self._outcomes.unconfirmed() > 0 or next(self._dispatch.held(), None) is not None

    async def _claim(self, wanted: int) -> list[Any]:
        """Claim what is there now; returns the script's reply."""
        self._turn()
        point("worker.claiming")
        reply: list[Any] = await self.server.call("claim", self._keys, [*self._terms, wanted, self.server.keys.rq])
        return reply

    async def _look(self, wanted: int) -> list[Any] | None:
        """Wait for a run and claim; returns the script's reply, None if the queue stayed empty."""
        began, queue = clock.monotonic(), self._keys[-1]
        point("worker.claiming")
        claim = ("EVALSHA", scripts.load("claim").sha, len(self._keys), *self._keys, *self._terms, wanted, self.server.keys.rq)
        head, reply = await self._asker.ask(("BLMOVE", queue, queue, "LEFT", "LEFT", _LOOK), claim)
        if isinstance(reply, NoScriptError):
            reply = await self._claim(wanted)
        elif isinstance(reply, ResponseError):
            raise reply
        if len(reply) == _NONE and not isinstance(head, bytes):
            if isinstance(head, ResponseError) and not _interrupted(head):
                raise head
            return None
        # Also where the look was refused, as by a server that is full: what was claimed is ours.
        self._came(clock.monotonic() - began > _FIRST_WAIT)
        return list(reply)

    def _at_once(self, replies: list[Any]) -> None:
        """What a look has claimed is dispatched in the step in which it was read, where nothing must be waited for before."""
        reply, delivery = replies[-1], self.delivery
        if isinstance(reply, list) and len(reply) > _NONE and not delivery.runs and delivery.is_current(int(reply[0])):
            self._taken = delivery.unpack(reply, self._queues), delivery.hand_over()

    async def _take(self, reply: list[Any]) -> tuple[int, int]:
        """Dispatch what was claimed; returns how many runs there were, and how many of them were not put back."""
        if self._taken is not None:
            (runs, kept), self._taken = self._taken, None
        else:
            runs = self.delivery.unpack(reply, self._queues)
            kept = await self.delivery.deliver(int(reply[0])) if runs else 0
        if kept:
            self.quota.works()
            self._standstill.over()
        else:
            self._standstill.put_back((run.queue for run in runs), more=bool(reply[_MORE]))
        return len(runs), kept


def _interrupted(error: ResponseError) -> bool:
    """A blocked command was ended from outside: by CLIENT UNBLOCK, or because the server became a replica."""
    return "UNBLOCKED" in str(error)
