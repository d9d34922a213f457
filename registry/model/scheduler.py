"""`ScheduleState` and `SchedulerReport`: what becomes of a schedule's slots, and what a scheduler says of itself."""

from __future__ import annotations

from typing import Literal

from taskq.registry.model.base import Stored


class ScheduleState(Stored):
    """What has become of a schedule's slots so far; slots are whole milliseconds since the epoch.

    ``last`` is the newest slot that was fired and ``run`` the id of its run; ``misfires`` counts the slots that had no run;
    ``held`` is a slot that fell into a pause and fires when the task is resumed.
    """

    last: int | None = None
    run: str = ""
    misfires: int = 0
    held: int | None = None


class SchedulerReport(Stored):
    """A scheduler's heartbeat; times in seconds since the epoch by Redis' clock.

    ``revision`` is the one that its schedules follow, ``last_tick`` when it last looked for what is due (None: it never led).
    """

    scheduler: str
    host: str = ""
    pid: int = 0
    state: Literal["leader", "standby"] = "standby"
    revision: int = 0
    heartbeat: float = 0.0
    started_at: float = 0.0
    release: str = ""
    last_tick: float | None = None
