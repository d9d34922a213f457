"""`CronSlots`: the slots of a cron expression in a time zone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from taskq.registry.schedules.cron import Cron
from taskq.registry.schedules.zone import Zone

_BEFORE: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class CronSlots:
    """When the clocks of ``zone`` show what ``cron`` names, in ms since the epoch.

    Clocks are moved, so that a time may stand on the wall never or twice. What then holds:

    - An expression that names each hour goes by the hour or oftener. Its slots are all moments at which the clock shows a time
      of it: real time goes on, and so do they.
    - Any other has one slot for each time that it names: where that is shown twice the first, where it is never shown the
      moment at which the clocks are moved forward (one slot, be it for several times).
    """

    cron: Cron
    zone: Zone

    def next_after(self, moment: int) -> int | None:
        """The first slot after ``moment``; None behind the end of the calendar."""
        return _in_ms(self._next, moment)

    def newest_until(self, moment: int) -> int | None:
        """The last slot that is not after ``moment``; None before the beginning of the calendar."""
        return _in_ms(self._newest, moment)

    def count(self, after: int, until: int) -> int:
        """How many slots there are in ``(after, until]``."""
        begin, end = after // 1000, until // 1000
        # Between two moves of the clocks, slots are counted on the wall.
        moves = list(self.zone.moves(begin, end))
        return self._count_hourly(begin, moves, end) if self.cron.hourly else self._count_named(begin, moves, end)

    # -- forward ---------------------------------------------------------------------------------------------
    def _next(self, now: int) -> int | None:
        wall = self.zone.wall(now)
        found = self._first(self.cron.after(wall), now)
        first, last = self.zone.meanings(wall)
        if self.cron.hourly and now == first < last:
            # The clocks are about to be moved back: times that are past on the wall come again.
            again = self.zone.move(first, last)
            repeated = self._first(self.cron.after(self.zone.wall(again) - _BEFORE), again - 1)
            return repeated if found is None or (repeated is not None and repeated < found) else found
        return found

    def _first(self, wall: datetime | None, now: int) -> int | None:
        """The first slot after ``now`` that ``wall`` or a later time on the wall means."""
        while wall is not None:
            first, last = self.zone.meanings(wall)
            behind = wall
            if first > last:
                moved = self.zone.move(last, first)
                if not self.cron.hourly:
                    return moved
                behind = self.zone.wall(moved) - _BEFORE
            elif first > now:
                return first
            elif self.cron.hourly and last > now:
                return last
            else:
                # Shown for the second time: it had its slot, and so had all up to where the clocks were moved back.
                behind = self.zone.wall(self.zone.move(first, last) - 1)
            wall = self.cron.after(max(wall, behind))
        return None

    # -- backward --------------------------------------------------------------------------------------------
    def _newest(self, now: int) -> int | None:
        wall = self.zone.wall(now)
        found = self._last(self.cron.until(wall), now)
        moved_back = self.zone.moved_back(now)
        if moved_back is not None:
            # Times that are still to come on the wall have been there before the clocks were moved back.
            earlier = self._last(self.cron.until(self.zone.wall(moved_back - 1)), moved_back - 1)
            return earlier if found is None or (earlier is not None and earlier > found) else found
        return found

    def _last(self, wall: datetime | None, now: int) -> int | None:
        """The last slot not after ``now`` that ``wall`` or an earlier time on the wall means."""
        while wall is not None:
            first, last = self.zone.meanings(wall)
            if first > last:
                moved = self.zone.move(last, first)
                if not self.cron.hourly:
                    return moved
                wall = self.cron.until(self.zone.wall(moved - 1))
                continue
            for meant in (last, first) if self.cron.hourly else (first,):
                if meant <= now:
                    return meant
            wall = self.cron.until(wall - _BEFORE)
        return None

    # -- counting --------------------------------------------------------------------------------------------
    def _count_hourly(self, begin: int, moves: list[int], end: int) -> int:
        total, low = 0, self.zone.wall(begin)
        for move in moves:
            total += self.cron.count(low, self.zone.wall(move - 1))
            low = self.zone.wall(move) - _BEFORE
        return total + self.cron.count(low, self.zone.wall(end))

    def _count_named(self, begin: int, moves: list[int], end: int) -> int:
        """What has stood on the wall is counted up to ``seen``."""
        moved_back = self.zone.moved_back(begin)
        seen = self.zone.wall(begin) if moved_back is None else max(self.zone.wall(begin), self.zone.wall(moved_back - 1))
        total = 0
        for move in moves:
            before, after = self.zone.wall(move - 1), self.zone.wall(move)
            total += self.cron.count(seen, before)
            seen = before
            if seen < after - _BEFORE:
                # All times that were left out have one slot: the move, which may be a time of the expression itself.
                left_out = self.cron.count(seen, after - _BEFORE)
                total += bool(left_out and self.cron.until(after) != after)
                seen = after - _BEFORE
        return total + self.cron.count(seen, self.zone.wall(end))


def _in_ms(find: Callable[[int], int | None], moment: int) -> int | None:
    try:
        found = find(moment // 1000)
    except OverflowError:
        return None
    return None if found is None else found * 1000
