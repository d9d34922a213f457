"""The time of a fleet: `Time` is what everything in this process takes for it, `Clock` how a test moves it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Final, Protocol

from taskq.registry import clock
from taskq.registry.authoring.duration import Duration, seconds
from taskq.registry.errors import InvalidInput, TaskqError

MOST_STEPS: Final = 10_000
# So far does one reading move a clock that stands still: what happens later has a later time, and nobody sees the difference.
_READING: Final = 1e-6


class Watcher(Protocol):
    """Who wants to know that the time was moved: a run in progress, for its timeout."""

    def moved(self) -> None:
        """The time was moved."""

    def aside(self) -> AbstractContextManager[None]:
        """Its code is not in progress meanwhile."""


class Time:
    """What this process takes for the time, from `open` to `close`: `taskq.registry.clock` at once, fakeredis once it is moved.

    Attributes:
        watchers: runs in progress, the innermost last.
    """

    def __init__(self) -> None:
        self._before = (clock.source.wall, clock.source.monotonic)
        self._still: float | None = None
        self._running = 0.0  # the monotonic clock where it stands still
        self._readings = 0
        self._fakes: list[tuple[ModuleType, Any]] = []
        self.watchers: list[Watcher] = []

    def open(self) -> None:
        """Take over the clock of the package."""
        clock.source.wall, clock.source.monotonic = self.wall, self.monotonic

    def close(self) -> None:
        """Give all clocks back."""
        clock.source.wall, clock.source.monotonic = self._before
        for module, genuine in self._fakes:
            module.time = genuine  # type: ignore[attr-defined]  # it had it

    def moment(self) -> float:
        """Seconds since the epoch; the moment itself where the time stands still, and no reading of it."""
        return time.time() if self._still is None else self._still

    @property
    def stands_still(self) -> bool:
        """Whether it was moved: then it passes no more by itself."""
        return self._still is not None

    def wall(self) -> float:
        """Seconds since the epoch, for who reads a clock."""
        if self._still is None:
            return time.time()
        self._readings += 1
        return self._still + self._readings * _READING

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic() if self._still is None else self._running

    def stop(self) -> float:
        """Stand still from now on; returns the moment, a whole millisecond."""
        if self._still is None:
            self._still, self._running = math.ceil(time.time() * 1000) / 1000, time.monotonic()
            self._fake_time()
        return self._still

    def move(self, moment: float) -> None:
        """Stand still at ``moment``, and tell the run in progress."""
        self._running += max(0.0, moment - self.stop())
        self._still, self._readings = moment, 0
        if self.watchers:
            self.watchers[-1].moved()

    def _fake_time(self) -> None:
        """Put ours in the place of the module `time` in all modules of fakeredis."""
        stand_in = _StandIn(self.wall)
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "fakeredis":
                found = vars(module).get("time")
                if found is time or found is time.time:
                    self._fakes.append((module, found))
                    module.time = stand_in if found is time else self.wall  # type: ignore[attr-defined]  # it had it


class _StandIn:
    """The module `time` with another ``time()``."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self.time = wall

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class Clock:
    """The clock of a fleet; it starts with the real time, and stands still from the first time that it is moved.

    What becomes due on the way is due at its own moment, as if a scheduler had run all the time: slots of schedules and delayed
    runs are put on their queues, where `Fleet.enqueued` finds them and `Fleet.drain` executes them. Leases, time-outs and keys
    that expire see it, too.
    """

    def __init__(self, time: Time, tick: Callable[[], int | None], drain: Callable[[], object]) -> None:
        """
        Args:
            time: that is moved.
            tick: does what is due, and says when the next thing is, in ms since the epoch.
            drain: executes what waits.
        """
        self._time, self._tick, self._drain = time, tick, drain

    def now(self) -> datetime:
        """The fleet's time, in UTC."""
        return clock.utc(self._time.moment())

    def advance(self, by: Duration, *, drain: bool = False) -> None:
        """Let so much time pass: seconds, text such as ``"1h30m"``, or a timedelta.

        Args:
            by: how much. Called by a task (or by what stands in for something slow), it may exceed the run's timeout: then the
                run is stopped there.
            drain: whether what becomes due is executed at its time, as by workers; else it waits.

        Raises:
            InvalidInput: it is no duration.
            TaskqError: more than 10,000 things would become due on the way.
        """
        self._go(self._time.stop() + _span(by), drain=drain)

    def set(self, moment: datetime | str, *, drain: bool = False) -> None:
        """Let the time be ``moment``: an aware datetime, or ISO 8601 text with a zone. One ahead is reached as by `advance`.

        Into the past it jumps; schedules keep the slots that they were waiting for, so set the clock before tasks are
        registered.

        Raises:
            InvalidInput: it is no such time. TaskqError: see `advance`.
        """
        target = _moment(moment)
        if target < self._time.stop():
            self._time.move(target)
        else:
            self._go(target, drain=drain)

    def jump(self, by: Duration) -> None:
        """Let so much time have passed with no scheduler there to see it: slots that are late by more than ``misfire_after``
        are misfires.

        Raises:
            InvalidInput: it is no duration.
        """
        target = self._time.stop() + _span(by)
        self._tick()  # up to now there was one
        self._time.move(target)
        self._tick()

    def _go(self, target: float, *, drain: bool) -> None:
        for _ in range(MOST_STEPS):
            due = self._tick()
            if drain:
                self._drain()
            if due is None or due > target * 1000:
                self._time.move(target)
                return
            self._time.move(due / 1000)
        raise TaskqError(
            f"on the way to {clock.iso(target)} more than {MOST_STEPS:,} things become due; the clock stands at {self.now().isoformat()}; "
            "move it in smaller steps, leave out the schedule that fires so often, or use jump()"
        )


def _span(by: Duration) -> float:
    try:
        return seconds(by)
    except ValueError as error:
        raise InvalidInput(f"by: {error}; use set() to go into the past") from None


def _moment(moment: datetime | str) -> float:
    try:
        parsed = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:
        raise InvalidInput(f"moment {moment!r} is no ISO 8601 time, such as 2026-11-22T06:00:00Z") from None
    if not isinstance(parsed, datetime) or parsed.utcoffset() is None:
        raise InvalidInput(
            f"moment {moment!r} must be a time with a zone, such as 2026-11-22T06:00:00Z or datetime(2026, 11, 22, 6, tzinfo=UTC)"
        )
    return round(parsed.astimezone(UTC).timestamp(), 3)
