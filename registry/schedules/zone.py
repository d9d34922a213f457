"""`Zone`: from a time on the wall to the moments that it means, and back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from taskq.registry.errors import InvalidInput

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # times on the wall are naive by design
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = 86_400


class Zone:
    """The clocks of one time zone. Moments are whole seconds since the epoch, times on the wall naive datetimes.

    The clocks of most zones are moved now and then. Forward: the times in between never stand on the wall (a gap).
    Back: the times in between stand there twice.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.info = _load(name)

    def wall(self, moment: int) -> datetime:
        """What the clock on the wall shows at ``moment``; may raise OverflowError at the end of the calendar."""
        return (_EPOCH + timedelta(seconds=moment)).astimezone(self.info).replace(tzinfo=None, fold=0)

    def meanings(self, wall: datetime) -> tuple[int, int]:
        """The moments that ``wall`` (whole seconds) may mean, ``first`` and ``last``.

        Equal for a time that the clock shows once. ``first < last`` for one that it shows twice. ``first > last`` for one that it
        never shows; the move forward then is in the interval ``(last, first]``, see `move`.
        """
        aware = wall.replace(tzinfo=self.info)
        seconds = (wall - _NAIVE_EPOCH) // _SECOND
        return seconds - _seconds(aware), seconds - _seconds(aware.replace(fold=1))

    def move(self, low: int, high: int) -> int:
        """The moment in ``(low, high]`` at which the clocks are moved. There must be just one."""
        before = self._offset(low)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == before:
                low = middle
            else:
                high = middle
        return high

    def moves(self, low: int, high: int) -> Iterator[int]:
        """All moments in ``(low, high]`` at which the clocks are moved, found by a look a day."""
        while low < high:
            step = min(low + _DAY, high)
            if self._offset(step) != self._offset(low):
                yield self.move(low, step)
            low = step

    def moved_back(self, moment: int) -> int | None:
        """When the clocks were moved back, if they show at ``moment`` what they have shown before; else None."""
        first, last = self.meanings(self.wall(moment))
        return self.move(first, last) if first < last == moment else None

    def _offset(self, moment: int) -> timedelta | None:
        return (_EPOCH + timedelta(seconds=moment)).astimezone(self.info).utcoffset()


@lru_cache(maxsize=1024)
def zone(name: str) -> Zone:
    """The zone of an IANA name.

    Raises:
        InvalidInput: there is no such zone on this machine; names it.
    """
    return Zone(name)


def _load(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # what ZoneInfo raises for a name that is no path, a folder, a file that is no zone
        raise InvalidInput(
            f"timezone {name!r} is not known: allowed are IANA names, like 'UTC', 'Europe/Berlin' or 'America/New_York'"
        ) from None


def _seconds(aware: datetime) -> int:
    offset = aware.utcoffset()
    return 0 if offset is None else offset // _SECOND
