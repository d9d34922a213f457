"""`Firing`: from slots that are due to runs in queues."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from taskq.producer.scheduler.calendar import Calendar, Entry
from taskq.producer.scheduler.decisions import Standing, Step, decide
from taskq.registry import clock
from taskq.registry.effects import Arg, Call, Command, Op, Pipeline
from taskq.registry.errors import FormatUnknown, InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.model.event import run_event
from taskq.registry.model.scheduler import ScheduleState
from taskq.registry.runs.creation import INDEX_CAP
from taskq.registry.runs.statuses import TERMINAL, from_rq
from taskq.registry.runtime.faults import point
from taskq.registry.schedules.slots import cause
from taskq.registry.scripts import load
from taskq.registry.serializer import dump_params
from taskq.registry.settings import Settings

_log = logging.getLogger("taskq.scheduler")
PAGE: Final = 500
"""Due schedules that are read in one call."""
BATCH: Final = 100
"""Steps that are taken in one call: what Redis does without looking at another client."""
MOST_STEPS: Final = 10
"""Steps for one schedule in one round: a long backlog of one must not keep the others waiting."""
NO_SLOT: Final = "inf"
"""The due slot of a schedule that has none left; it stays in its place, so that it is known to have fired."""
_NO_PARAMETERS: Final = dump_params({})

Outcome = Literal["done", "lost", "moved"]


@dataclass(frozen=True, slots=True)
class Due:
    """A schedule that something is to be done about: where it stands, and its state as Redis has it (``b""`` for none)."""

    name: str
    standing: Standing
    blob: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about a schedule; no steps where nothing can be."""

    due: Due
    entry: Entry | None = None
    steps: Sequence[Step] = ()

    def left(self, now: int) -> bool:
        """Whether it is still due behind these steps."""
        slot = self.steps[-1].after.due if self.steps else self.due.standing.due
        return slot is not None and slot <= now


@dataclass(slots=True)
class Round:
    """What one round has done, see `Firing.fire`. ``sound``: False where a schedule was not as it had been read."""

    outcome: Outcome = "done"
    asked: float = 0.0
    now: int = 0
    next: int | None = None
    runs: int = 0
    sound: bool = True

    def expect(self, moment: int | None) -> None:
        """Something is due then."""
        if moment is not None:
            self.next = moment if self.next is None else min(self.next, moment)


class Firing:
    """Fires slots.

    Args:
        keys: of the namespace. ``settings``: ``events``. ``calendar``: the schedules and their rules.

    Attributes:
        held: names of schedules that hold a slot back, as far as is known; those whose task is not paused are released.
    """

    def __init__(self, keys: Keys, settings: Settings, calendar: Calendar) -> None:
        self._keys, self._calendar = keys, calendar
        self._events = settings.events == "all"
        self._told: set[str] = set()
        self.held: set[str] = set()

    def fire(self, lease: str) -> Op[Round]:
        """Go once around the due schedules, page by page; those that stay due are passed over by the next page.

        Returns:
            a round. ``outcome`` is ``lost`` where the lease is not ours any more, ``moved`` where the registry has a newer revision
            than the snapshot: then what is due may not be done. ``now`` is Redis' clock in ms, ``asked`` when it was asked by our
            monotonic one in s, ``next`` when a slot is due again in ms (``now``: already); ``runs`` counts the runs that were made.
        """
        done, passed, pages, complete = Round(), 0, 0, False
        resumed = yield from self._resumed()
        taken = {due.name for due in resumed}
        while not complete:
            pages += 1
            done.asked = clock.monotonic()
            reply = yield Call(load("upcoming"), [self._keys.scheduler_due, self._keys.scheduler_state], [passed, PAGE])
            done.now = int(reply[0])
            done.expect(int(reply[1]) if reply[1] else None)
            rows = [(name.decode(), int(slot), blob) for name, slot, blob in zip(reply[2::3], reply[3::3], reply[4::3], strict=True)]
            complete = len(rows) < PAGE
            page = [due for row in rows if row[0] not in taken and (due := self._due(*row)) is not None]
            passed += len(rows) - len(page)
            revision, plans = yield from self._plans([*resumed, *page], done.now)
            resumed = []
            yield from self._take(lease, revision, plans, done)
            if done.outcome != "done":
                return done
            passed += sum(plan.left(done.now) for plan in plans)
        if not done.sound or (pages > 1 and done.runs):
            done.expect(done.now)  # a page may have passed over one that it should not have: pages shift while slots are fired
        return done

    def state(self, name: str, blob: bytes) -> ScheduleState | None:
        """The state of a schedule; None where another release wrote it: nothing is done about that one."""
        try:
            return ScheduleState.load(blob) if blob else ScheduleState()
        except FormatUnknown as error:
            self._tell(name, error.message)
            return None

    def first_slot(self, entry: Entry, now: int) -> str | None:
        """The first due slot of a new schedule as Redis holds it; None where this machine can't tell."""
        try:
            first = entry.first_slot(now)
        except InvalidInput as error:
            self._tell(entry.name, error.message)
            return None
        return NO_SLOT if first is None else str(first)

    # -- what is due -----------------------------------------------------------------------------------------
    def _due(self, name: str, slot: float | None, blob: bytes) -> Due | None:
        state = None if slot is None else self.state(name, blob)
        return None if slot is None or state is None else Due(name, Standing(None if math.isinf(slot) else int(slot), state), blob)

    def _resumed(self) -> Op[list[Due]]:
        """Schedules that hold a slot back though their task is not paused any more."""
        names = [name for name in self.held if (entry := self._calendar.find(name)) is not None and not entry.rules.paused]
        if not names:
            return []
        commands = [Command("ZMSCORE", self._keys.scheduler_due, *names), Command("HMGET", self._keys.scheduler_state, *names)]
        scores, blobs = yield Pipeline(commands, atomic=True)
        found = (self._due(name, score, blob or b"") for name, score, blob in zip(names, scores, blobs, strict=True))
        return [due for due in found if due is not None]

    def _plans(self, dues: Sequence[Due], now: int) -> Op[tuple[int, list[Plan]]]:
        """What is to be done, and the revision that this was decided against: nothing else happens in between."""
        busy = yield from self._busy(dues)
        return self._calendar.snapshot.revision, [self._plan(due, now, busy=due.name in busy) for due in dues]

    def _busy(self, dues: Sequence[Due]) -> Op[Collection[str]]:
        """Names of schedules that must not overlap and whose last run has not ended."""
        asked = [
            due
            for due in dues
            if due.standing.state.run and (entry := self._calendar.find(due.name)) is not None and entry.rules.overlap == "skip"
        ]
        if not asked:
            return ()
        statuses = yield Pipeline([Command("HGET", self._keys.rq_job(due.standing.state.run), "status") for due in asked])
        return {due.name for due, status in zip(asked, statuses, strict=True) if status and from_rq(status.decode()) not in TERMINAL}

    def _plan(self, due: Due, now: int, *, busy: bool) -> Plan:
        entry = self._calendar.find(due.name)
        if entry is None:
            return Plan(due)
        try:
            return Plan(due, entry, decide(entry.rules, due.standing, now, busy=busy, most=MOST_STEPS))
        except InvalidInput as error:
            self._tell(due.name, error.message)
            return Plan(due)

    # -- what is done ----------------------------------------------------------------------------------------
    def _take(self, lease: str, revision: int, plans: Sequence[Plan], done: Round) -> Op[None]:
        """Take the steps of the plans, and write into ``done`` what came of them."""
        keys = self._keys
        names = [keys.scheduler_lease, keys.revision, keys.scheduler_due, keys.scheduler_state, keys.rq_queues, keys.runs, keys.events]
        head: list[Arg] = [lease, revision, keys.rq, keys.prefix, INDEX_CAP, _NO_PARAMETERS]
        steps = [(plan, step, args) for plan in plans for step, args in self._steps(plan)]
        for at in range(0, len(steps), BATCH):
            batch = steps[at : at + BATCH]
            point("scheduler.decided")
            reply = yield Call(load("slot"), names, [*head, *(arg for *_, args in batch for arg in args)])
            point("scheduler.fired")
            if reply[0] != b"ok":
                done.outcome = "lost" if reply[0] == b"lost" else "moved"
                return
            for (plan, step, _), verdict in zip(batch, reply[2:], strict=True):
                self._taken(plan, step, verdict, done)
        for plan in plans:
            if plan.left(done.now) and plan.steps:
                done.expect(done.now)

    def _taken(self, plan: Plan, step: Step, verdict: Any, done: Round) -> None:
        if verdict != b"done":
            _log.debug("%s: slot %s was %s", plan.due.name, step.before.due, verdict.decode())
            done.sound = False
            return
        done.runs += step.fires is not None
        done.expect(step.after.due if step.after.due is None or step.after.due > done.now else None)
        (self.held.discard if step.after.state.held is None else self.held.add)(plan.due.name)

    def _steps(self, plan: Plan) -> Iterator[tuple[Step, list[Arg]]]:
        """Each step with its arguments of slot.lua; a step's state must be byte for byte what the one before wrote."""
        blob = plan.due.blob
        for step in plan.steps:
            after = step.after.state.dump()
            yield step, [plan.due.name, _score(step.before), blob, step.newest, _score(step.after), after, *self._run(plan, step)]
            blob = after

    def _run(self, plan: Plan, step: Step) -> tuple[Arg, ...]:
        if step.fires is None or plan.entry is None:
            return ("", "", "", "", "", "")
        rules, spec = plan.entry.rules, plan.entry.spec
        why, event = cause(rules.schedule.text, step.fires), ""
        if self._events:
            event = run_event("queued", namespace=self._keys.namespace, task=rules.task, run=step.run, status="queued", cause=why)
        return step.run, rules.task, self._keys.queue_name(spec.queue), math.ceil(spec.timeout), why, event

    def _tell(self, name: str, why: str) -> None:
        """Log once why nothing is done about a schedule."""
        if name not in self._told:
            self._told.add(name)
            _log.warning("schedule %s is left alone: %s", name, why)


def _score(standing: Standing) -> Arg:
    return NO_SLOT if standing.due is None else standing.due
