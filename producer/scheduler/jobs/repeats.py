"""`Repeat`: how a job of `FleetScheduler` repeats: what is stored beside it, and when it is due next.

rq-scheduler keeps this in ``job.meta``, which is pickled. The same stands in a record of ours (msgpack), and the record is
what decides, so that whoever moves jobs need not unpickle anything.
"""

from __future__ import annotations

import math
from typing import Any, Final

from taskq.producer.scheduler.jobs.times import local_zone
from taskq.registry.authoring.duration import seconds
from taskq.registry.errors import InvalidInput
from taskq.registry.model.base import Stored
from taskq.registry.schedules.cron import cron, normalised
from taskq.registry.schedules.wallclock import CronSlots
from taskq.registry.schedules.zone import zone

SHORTEST: Final = 0.1
"""The shortest interval, in seconds: that of a schedule's ``every``."""


class Repeat(Stored):
    """How one job repeats, and where it goes if that is not where RQ's own classes would put it.

    A job with neither ``interval`` nor ``cron`` is handed over once.

    Args:
        interval: seconds from one time to the next, or None.
        cron: an expression, or None. ``timezone``: IANA name of the zone that it is meant in.
        left: how many times it is still handed over; None for ever.
        job_prefix, queue_prefix: of the keys of jobs and queues, where a class of the user's own has others than RQ.
        timeout: of a job that names none, in seconds, where a queue class of the user's own has another one than RQ.
    """

    interval: float | None = None
    cron: str | None = None
    timezone: str = "UTC"
    left: int | None = None
    job_prefix: str | None = None
    queue_prefix: str | None = None
    timeout: int | None = None

    @property
    def repeats(self) -> bool:
        """Whether there may be a time after the next one."""
        return bool(self.interval or self.cron)

    def next_time(self, due: float, now: float) -> float | None:
        """When the job is due after this time, later than ``now``; None for never. Times that have passed meanwhile are left out.

        Args:
            due: when it was due, in s since the epoch. ``now``: Redis' clock, in the same.
        """
        if not self.repeats or (self.left is not None and self.left <= 1):
            return None
        if self.interval:
            return _on_grid(due, self.interval, now)
        return self.first_time(now)

    def first_time(self, now: float) -> float | None:
        """The first time of the cron expression after ``now``; None behind the end of the calendar."""
        slot = CronSlots(cron(self.cron or ""), zone(self.timezone)).next_after(math.floor(now * 1000))
        return None if slot is None else slot / 1000

    def moved(self) -> Repeat:
        """The record once the job has been handed over once more."""
        return self if self.left is None else self.model_copy(update={"left": max(0, self.left - 1)})


def _on_grid(due: float, interval: float, now: float) -> float:
    """The first of the times ``due + k · interval`` after ``now``: so nothing drifts, however late each is moved."""
    steps = math.floor((now - due) / interval)
    # Rounded before it is compared: what is later by the noise of a float is not later.
    while (found := round(due + steps * interval, 6)) <= now:
        steps += 1
    return found


def every(interval: Any) -> float | None:
    """``interval`` as `FleetScheduler.schedule` takes it, in seconds; None or 0 for a job that is handed over once.

    Raises:
        ValueError: it is no duration, or a shorter one than 0.1 s.
    """
    if interval is None:
        return None
    try:
        found = seconds(interval)
    except ValueError as error:
        raise ValueError(f"interval: {error}") from None
    if 0 < found < SHORTEST:
        raise ValueError(f"interval={interval!r} must be at least {SHORTEST:g} s")
    return int(found) if found == int(found) else found


def how_often(repeat: Any) -> int | None:
    """``repeat`` as the methods take it: how many times in all; None for ever.

    Raises:
        ValueError: it is no whole number from 0.
    """
    if repeat is None:
        return None
    try:
        found = int(repeat)
    except (TypeError, ValueError):
        raise ValueError(f"repeat={repeat!r} must be a whole number, or None to repeat for ever") from None
    if found < 0:
        raise ValueError(f"repeat={repeat!r} must be a whole number from 0, or None to repeat for ever")
    return found


def by_cron(expression: Any, *, local: bool, left: int | None = None) -> Repeat:
    """A record of a job that goes by a cron expression.

    Args:
        expression: five fields, or ``@hourly``, ``@daily`` …
        local: meant in this machine's time zone, else in UTC. The zone is stored by its name, so that the job keeps it
            wherever it is moved.
        left: how many times in all, None for ever.

    Raises:
        ValueError: it is no such expression, it never comes, or this machine's zone has no name.
    """
    try:
        known = normalised(expression)
    except InvalidInput as error:
        raise ValueError(str(error)) from None
    return Repeat(cron=known, timezone=local_zone() if local else "UTC", left=left)


def from_meta(meta: dict[str, Any], earlier: Repeat | None) -> Repeat:
    """What a job's ``meta`` says, rq-scheduler's own form of it.

    Args:
        meta: of the job; its ``interval`` or ``cron_string`` decides.
        earlier: the stored record, if there is one: what it says of how often is newer than ``meta``, and what it says of the zone
            where ``meta`` has the same expression.

    Raises:
        ValueError: a value there is not allowed.
    """
    known = earlier or Repeat()
    left = how_often(meta.get("repeat")) if earlier is None else earlier.left
    interval, expression = every(meta.get("interval")), meta.get("cron_string")
    if interval:
        return known.model_copy(update={"interval": interval, "cron": None, "left": left})
    if not expression:
        return known.model_copy(update={"interval": None, "cron": None, "left": left})
    made = by_cron(expression, local=bool(meta.get("use_local_timezone")), left=left)
    kept = known.timezone if made.cron == known.cron else made.timezone
    return known.model_copy(update={"interval": None, "cron": made.cron, "timezone": kept, "left": left})
