"""What is due: the scheduler, asked to act when the time is moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from taskq.producer.scheduler.calendar import Calendar
from taskq.producer.scheduler.leadership import lead, lease_of, resign
from taskq.producer.scheduler.ticker import SoloScheduler
from taskq.registry import clock
from taskq.registry.effects import Command, Op, Pipeline, run_sync
from taskq.registry.feed.feed import read_changes
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.runs.later import move_due
from taskq.registry.settings import Settings
from taskq.testing.clock import Time

if TYPE_CHECKING:
    from redis import Redis

NAME: Final = "testing"


class Due:
    """Schedules and delayed runs.

    Slots are fired only where the time stands still: which slots real time passes over would depend on how fast a test is.
    Delayed runs have no such doubt, and move as soon as anybody looks.
    """

    def __init__(self, redis: Redis, keys: Keys, settings: Settings, time: Time) -> None:
        self._redis, self._keys, self._settings, self._time = redis, keys, settings, time
        self._scheduler = SoloScheduler(keys, settings, NAME)
        self._settled = False
        self._revision: bytes | None = None

    def tick(self) -> int | None:
        """Do all that is due, the time standing still; returns when the next thing is due, in ms since the epoch."""
        self._time.stop()
        if not self._settled:
            self._settled = True
            run_sync(_begin_now(self._keys, self._settings, round(clock.now() * 1000)), self._redis)
        due = run_sync(self._scheduler.run_due(), self._redis)
        self._revision, *_ = run_sync(_heads(self._keys), self._redis)
        return due

    def quiet(self, until: float) -> bool:
        """Whether nothing is known that could become due up to a moment (seconds since the epoch), the time standing still. Cheap."""
        revision, *heads = run_sync(_heads(self._keys), self._redis)
        return self._settled and revision == self._revision and all(not head or float(head[1]) > until * 1000 for head in heads)

    def look(self) -> None:
        """Move delayed runs whose time has come."""
        if not self._time.stands_still:
            run_sync(_move(self._keys, self._settings), self._redis)
        elif not self.quiet(clock.now()):
            self.tick()


def _begin_now(keys: Keys, settings: Settings, now: int) -> Op[None]:
    """Have each schedule wait for its first slot after ``now``: slots that real time passed over since the registration are
    none of the test's.
    """
    snapshot = Snapshot()
    tasks = yield from read_changes(keys, snapshot)
    for entry in Calendar(snapshot, settings.misfire_after).difference((), tasks).added:
        slot = entry.rules.schedule.next_after(now)
        if slot is not None:
            yield Command("ZADD", keys.scheduler_due, "NX", slot, entry.name)


def _heads(keys: Keys) -> Op[list[Any]]:
    """The registry's revision, the next slot and the next delayed run."""
    sets = [Command("ZRANGE", name, 0, 0, "WITHSCORES") for name in (keys.scheduler_due, keys.scheduler_runs)]
    heads: list[Any] = yield Pipeline([Command("GET", keys.revision), *sets])
    return heads


def _move(keys: Keys, settings: Settings) -> Op[None]:
    if not (yield Command("ZCARD", keys.scheduler_runs)):
        return
    answer = yield from lead(keys, keys.scheduler_lease, NAME, "", lease_of(settings))
    while (yield from move_due(keys, f"{answer.token}|{NAME}", events=settings.events == "all")).count:
        pass
    yield from resign(keys.scheduler_lease, NAME, answer.token, keys.scheduler_wake)
