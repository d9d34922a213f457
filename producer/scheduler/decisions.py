"""What becomes of a schedule's slots: pure functions of what is known at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from taskq.registry.model.scheduler import ScheduleState
from taskq.registry.schedules.schedule import Schedule
from taskq.registry.schedules.slots import run_id


@dataclass(frozen=True, slots=True)
class Rules:
    """How the slots of one schedule are treated.

    ``paused``: whether its task is. ``grace``: how late a slot may fire before ``misfire`` decides, in ms.
    """

    task: str
    schedule: Schedule
    misfire: Literal["once", "skip", "all"] = "once"
    overlap: Literal["allow", "skip"] = "allow"
    paused: bool = False
    grace: int = 30_000


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a schedule stands: its due slot (None where no slot is left), and what has become of those before."""

    due: int | None
    state: ScheduleState


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done, from one standing to the next.

    ``newest`` is the newest slot that it settles; ``fires`` the slot that gets a run, None for no run: then ``run`` is ``""``.
    """

    before: Standing
    newest: int
    after: Standing
    fires: int | None = None
    run: str = ""


def decide(rules: Rules, standing: Standing, now: int, *, busy: bool = False, most: int = 20) -> list[Step]:
    """What is to be done about the slots that are due, in order; each step goes on from where the one before leads to.

    A slot is fired, or counted as a misfire, or held back by a pause; never two of these, and never twice.

    Args:
        rules: of the schedule. ``standing``: where it stands.
        now: in ms since the epoch.
        busy: whether the run of its last slot has not ended (asked only where ``overlap`` is ``skip``).
        most: how many steps at most; there is more to be done if the last one leads to a slot that is due.
    """
    steps: list[Step] = []
    while len(steps) < most:
        step = _next(rules, standing, now, busy=busy)
        if step is None:
            break
        steps.append(step)
        standing = step.after
        # Its run is only just made, and can't have ended.
        busy = busy or (step.fires is not None and rules.overlap == "skip")
    return steps


def _next(rules: Rules, at: Standing, now: int, *, busy: bool) -> Step | None:
    if at.state.held is not None and not rules.paused:
        return _release(rules, at, at.state.held, busy=busy)
    if at.due is None or at.due > now:
        return None
    if rules.paused and rules.misfire == "once":
        return _drop(rules, at, now, hold=True)
    if busy or (rules.paused and rules.misfire == "skip"):
        return _drop(rules, at, now)
    last_late = now - rules.grace - 1
    if not rules.paused and at.due <= last_late and rules.misfire != "all":
        return _late(rules, at, last_late)
    return _fire(rules, at, at.due, skipped=0)


def _fire(rules: Rules, at: Standing, slot: int, skipped: int) -> Step:
    """The slot gets its run; ``skipped`` ones before it are counted."""
    run = run_id(rules.task, rules.schedule.text, slot)
    state = at.state.model_copy(update={"last": slot, "run": run, "misfires": at.state.misfires + skipped})
    return Step(at, slot, Standing(_following(rules.schedule, slot), state), slot, run)


def _late(rules: Rules, at: Standing, until: int) -> Step:
    """Slots that are too late: the newest of them runs, or none."""
    if rules.misfire == "skip":
        return _drop(rules, at, until)
    newest, count = _range(rules, at, until)
    return _fire(rules, at, newest, skipped=count - 1)


def _drop(rules: Rules, at: Standing, until: int, *, hold: bool = False) -> Step:
    """No slot up to ``until`` gets a run; ``hold``: the newest may still get one later, in place of an earlier one that was held."""
    newest, count = _range(rules, at, until)
    update: dict[str, int | None] = {"misfires": at.state.misfires + count}
    if hold:
        update = {"misfires": at.state.misfires + count - (at.state.held is None), "held": newest}
    return Step(at, newest, Standing(_following(rules.schedule, newest), at.state.model_copy(update=update)))


def _release(rules: Rules, at: Standing, held: int, *, busy: bool) -> Step:
    """The pause is over: what it held back runs, unless it would be skipped now."""
    state = at.state.model_copy(update={"held": None})
    if busy or rules.misfire == "skip":
        return Step(at, held, Standing(at.due, state.model_copy(update={"misfires": state.misfires + 1})))
    run = run_id(rules.task, rules.schedule.text, held)
    return Step(at, held, Standing(at.due, state.model_copy(update={"last": held, "run": run})), held, run)


def _range(rules: Rules, at: Standing, until: int) -> tuple[int, int]:
    """The newest slot from the due one up to ``until``, and how many slots that are."""
    due = at.due or 0
    newest = rules.schedule.newest_between(due - 1, until)
    # A schedule that no longer has the slot that was written down for it still has that one to settle.
    return (due, 1) if newest is None else (newest, _count(rules.schedule, due, newest))


# Many tasks have the same schedule, and their slots are due at the same moment.
@lru_cache(maxsize=4096)
def _following(schedule: Schedule, slot: int) -> int | None:
    return schedule.next_after(slot)


@lru_cache(maxsize=4096)
def _count(schedule: Schedule, due: int, newest: int) -> int:
    return schedule.count_between(due - 1, newest)
