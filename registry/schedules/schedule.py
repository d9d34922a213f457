"""`Schedule`: one reason for a task to run at certain times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal, Protocol

from taskq.registry.authoring.duration import seconds
from taskq.registry.errors import InvalidInput
from taskq.registry.schedules.cron import cron
from taskq.registry.schedules.moment import milliseconds
from taskq.registry.schedules.wallclock import CronSlots
from taskq.registry.schedules.zone import zone

_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000))


class Scheduled(Protocol):
    """What has schedules: a `Spec`."""

    @property
    def every(self) -> float | None: ...
    @property
    def cron(self) -> str | None: ...
    @property
    def timezone(self) -> str: ...
    @property
    def at(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule of a task. All times are whole milliseconds since the epoch.

    Attributes:
        text: its identity, shown to people: ``every 30s``, ``cron 0 6 * * 1-5 Europe/Berlin`` (UTC is not named),
            ``at 2026-12-01T09:00:00+01:00``.
        kind: what the text begins with.
        timezone: IANA name of the zone that its times are meant in; None where none matters.
    """

    text: str
    kind: Literal["every", "cron", "at"]
    timezone: str | None

    def next_after(self, moment_ms: int) -> int | None:
        """The first slot after ``moment_ms``; None if there is none any more.

        Raises:
            InvalidInput: this machine does not know the schedule's time zone, or another release wrote the schedule.
        """
        return _slots(self.text, self.kind).next_after(moment_ms)

    def newest_between(self, after_ms: int, until_ms: int) -> int | None:
        """The last slot in ``(after_ms, until_ms]``, None if there is none; found without a walk through those before it."""
        newest = _slots(self.text, self.kind).newest_until(until_ms)
        return newest if newest is not None and newest > after_ms else None

    def count_between(self, after_ms: int, until_ms: int) -> int:
        """How many slots are in ``(after_ms, until_ms]``; counted without a walk through them."""
        return _slots(self.text, self.kind).count(after_ms, until_ms) if after_ms < until_ms else 0


def schedules_of(spec: Scheduled) -> tuple[Schedule, ...]:
    """The schedules that a spec asks for: of ``every``, ``cron`` and ``at`` those that it has."""
    found = []
    if spec.every is not None:
        found.append(Schedule(f"every {period_text(round(spec.every * 1000))}", "every", None))
    if spec.cron is not None:
        where = "" if spec.timezone == "UTC" else f" {spec.timezone}"
        found.append(Schedule(f"cron {spec.cron}{where}", "cron", spec.timezone))
    if spec.at is not None:
        found.append(Schedule(f"at {spec.at}", "at", None if spec.timezone == "UTC" else spec.timezone))
    return tuple(found)


def member(task: str, schedule: Schedule) -> str:
    """What a schedule is called among those of all tasks: ``<task>|<text>``."""
    return f"{task}|{schedule.text}"


def period_text(period_ms: int) -> str:
    """A period as people write it: ``30s``, ``1m30s``, ``1.5s``, ``250ms``."""
    parts = []
    for unit, size in _UNITS:
        count, period_ms = divmod(period_ms, size)
        if count:
            parts.append(f"{count}{unit}")
    if period_ms:
        parts.append(f"{period_ms}ms" if period_ms < 1000 else f"{period_ms / 1000:g}s")
    return "".join(parts)


# -- what the text means ---------------------------------------------------------------------------------------
class _Slots(Protocol):
    def next_after(self, moment: int) -> int | None: ...
    def newest_until(self, moment: int) -> int | None: ...
    def count(self, after: int, until: int) -> int: ...


@dataclass(frozen=True, slots=True)
class _Every:
    """The multiples of a period since the epoch: nothing drifts, and all schedulers mean the same."""

    period: int

    def next_after(self, moment: int) -> int:
        return (moment // self.period + 1) * self.period

    def newest_until(self, moment: int) -> int:
        return moment // self.period * self.period

    def count(self, after: int, until: int) -> int:
        return until // self.period - after // self.period


@dataclass(frozen=True, slots=True)
class _Once:
    """One moment."""

    at: int

    def next_after(self, moment: int) -> int | None:
        return self.at if self.at > moment else None

    def newest_until(self, moment: int) -> int | None:
        return self.at if self.at <= moment else None

    def count(self, after: int, until: int) -> int:
        return int(after < self.at <= until)


@lru_cache(maxsize=8192)
def _slots(text: str, kind: str) -> _Slots:
    try:
        return _read(text, kind)
    except ValueError as error:
        raise InvalidInput(f"schedule {text!r} can't be read: {error}") from None


def _read(text: str, kind: str) -> _Slots:
    rest = text.removeprefix(f"{kind} ")
    if kind == "every":
        return _Every(round(seconds(rest) * 1000))
    if kind == "at":
        return _Once(milliseconds(datetime.fromisoformat(rest)))
    fields = rest.split(" ")
    size = 1 if fields[0].startswith("@") else 5
    if len(fields) > size + 1:
        return CronSlots(cron(rest), zone("UTC"))  # no expression of this release: says so
    return CronSlots(cron(" ".join(fields[:size])), zone(fields[size] if fields[size:] else "UTC"))
