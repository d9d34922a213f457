"""`Ticker`: does all that is due; `SoloScheduler`: the same without a process around it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from taskq.producer.scheduler.calendar import Calendar, Difference, task_of
from taskq.producer.scheduler.firing import PAGE, Firing, Outcome
from taskq.producer.scheduler.leadership import lead, lease_of
from taskq.registry.effects import Arg, Call, Command, Op
from taskq.registry.errors import Conflict
from taskq.registry.feed.feed import read_changes
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.runs.later import move_due
from taskq.registry.runtime.faults import point
from taskq.registry.scripts import load
from taskq.registry.settings import Settings

_log = logging.getLogger("taskq.scheduler")
_MOST_ROUNDS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick has done.

    ``outcome`` is ``lost`` where the lease was not ours any more, ``moved`` where the registry has a newer revision than the
    snapshot: then what is due may not be done. ``now`` is Redis' clock in ms, ``asked`` when it was asked by this machine's
    monotonic one in s, ``next`` when something is due again in ms (``now`` or before: already), None where nothing is to come.
    ``runs`` were made for slots, ``delayed`` were moved to their queues.
    """

    outcome: Outcome
    asked: float = 0.0
    now: int = 0
    next: int | None = None
    runs: int = 0
    delayed: int = 0


class Ticker:
    """Brings the schedules in Redis into line with the registry's, fires slots, and moves delayed runs to their queues.

    It holds no lock and needs none: what it remembers (which schedules stand in Redis, which of them hold a slot) only saves
    it from reading; each script compares lease, revision, slot and state.

    Args:
        keys: of the namespace. ``settings``: ``misfire_after`` and ``events``.
        snapshot: of the registry, kept up to date by the caller, who tells by `changed` what has moved.
    """

    def __init__(self, keys: Keys, settings: Settings, snapshot: Snapshot) -> None:
        self._keys, self._events = keys, settings.events == "all"
        self._calendar = Calendar(snapshot, settings.misfire_after)
        self._firing = Firing(keys, settings, self._calendar)
        self._lease = ""
        self._unsure, self._changed = True, set[str]()
        self._there: dict[str, set[str]] = {}

    def changed(self, tasks: Iterable[str]) -> None:
        """The snapshot has moved: the schedules of these tasks may be others."""
        self._changed.update(tasks)

    def forget(self) -> None:
        """What stands in Redis is not known any more: the next tick reads all of it."""
        self._unsure = True

    def tick(self, lease: str) -> Op[Tick]:
        """Do what is due by Redis' clock, once around; a long backlog takes several ticks.

        Args:
            lease: what ``keys.scheduler_lease`` must hold: ``<token>|<scheduler>``.
        """
        unsure = self._unsure or lease != self._lease  # under another lease others have written
        self._lease, self._unsure = lease, True  # until this tick has ended well
        # First, since a full Redis takes this, and no slots.
        moved = yield from move_due(self._keys, lease, events=self._events)
        if moved.count:
            point("scheduler.moved")
        if not moved.leads:
            return Tick("lost")
        if unsure:
            self._changed = set()  # all of it is compared; what changes from here on is looked at again
            yield from self._look()
        aligned = yield from self._align(lease, {*self._calendar.snapshot.tasks, *self._there} if unsure else set())
        if aligned != "done":
            return Tick(aligned, delayed=moved.count)
        fired = yield from self._firing.fire(lease)
        self._unsure = fired.outcome == "lost" or not fired.sound
        if fired.outcome != "done":
            return Tick(fired.outcome, fired.asked, fired.now, fired.now, fired.runs, moved.count)
        fired.expect(moved.next_ms)
        return Tick("done", fired.asked, fired.now, fired.next, fired.runs, moved.count)

    def _look(self) -> Op[None]:
        """Learn which schedules stand in Redis, and which of them hold a slot."""
        self._there, self._firing.held = {}, set()
        at = 0
        while True:
            names = yield Command("ZRANGE", self._keys.scheduler_due, at, at + PAGE - 1)
            if not names:
                return
            blobs = yield Command("HMGET", self._keys.scheduler_state, *names)
            for name, blob in zip((name.decode() for name in names), blobs, strict=True):
                self._there.setdefault(task_of(name), set()).add(name)
                state = self._firing.state(name, blob or b"")
                if state is not None and state.held is not None:
                    self._firing.held.add(name)
            at += len(names)

    def _recall(self, tasks: set[str]) -> Op[None]:
        """Learn which schedules of tasks that have changed still stand: a change that ends one removes it."""
        names = [name for task in tasks for name in {*self._calendar.of(task), *self._there.get(task, ())}]
        for at in range(0, len(names), PAGE):
            page = names[at : at + PAGE]
            scores = yield Command("ZMSCORE", self._keys.scheduler_due, *page)
            for name, score in zip(page, scores, strict=True):
                known = self._there.setdefault(task_of(name), set())
                (known.discard if score is None else known.add)(name)

    def _align(self, lease: str, tasks: set[str]) -> Op[Outcome]:
        """Add and remove schedules of these tasks and of those that have changed."""
        changed, self._changed = self._changed, set()
        yield from self._recall(changed)
        tasks = tasks | changed
        revision = self._calendar.snapshot.revision
        difference = self._calendar.difference({name for task in tasks for name in self._there.get(task, ())}, tasks)
        if not difference.added and not difference.removed:
            return "done"
        seconds, micros = yield Command("TIME")
        changes = self._changes(difference, int(seconds) * 1000 + int(micros) // 1000)
        names = [self._keys.scheduler_lease, self._keys.revision, self._keys.scheduler_due, self._keys.scheduler_state]
        for at in range(0, len(changes), PAGE):
            page = changes[at : at + PAGE]
            added = [arg for change in page if len(change) == 2 for arg in change]
            removed = [arg for change in page if len(change) == 1 for arg in change]
            args: list[Arg] = [lease, revision, len(added) // 2, *added, *removed]
            reply = yield Call(load("reschedule"), names, args)
            if reply[0] != b"ok":
                return "lost" if reply[0] == b"lost" else "moved"
        _log.info("schedules: %d added, %d removed", len(difference.added), len(difference.removed))
        return "done"

    def _changes(self, difference: Difference, now: int) -> list[tuple[str, ...]]:
        """``(schedule, first slot)`` for each that is added, ``(schedule,)`` for each that is removed; noted as done."""
        changes: list[tuple[str, ...]] = []
        for entry in difference.added:
            first = self._firing.first_slot(entry, now)
            if first is not None:
                changes.append((entry.name, first))
                self._there.setdefault(entry.rules.task, set()).add(entry.name)
        for name in difference.removed:
            changes.append((name,))
            self._there[task_of(name)].discard(name)
            self._firing.held.discard(name)
        return changes


class SoloScheduler:
    """A scheduler that acts when it is asked to: for tests with a clock of their own, and for programs with a loop of their own.

    It takes the lead, reads the registry and ticks, all by `run_due`; what is due is decided by the clock of the server that
    the operation is driven over.

    Args:
        keys: of the namespace. ``settings``: as for `Ticker`, and the lease. ``name``: for others to see.
    """

    def __init__(self, keys: Keys, settings: Settings, name: str = "solo") -> None:
        self._keys, self._settings, self._name = keys, settings, name
        self._snapshot = Snapshot()
        self._ticker = Ticker(keys, settings, self._snapshot)
        self._token = ""

    def run_due(self) -> Op[int | None]:
        """Do everything that is due now, and return when the next thing is due.

        Returns:
            milliseconds since the epoch by the server's clock; None where nothing is to come.

        Raises:
            Conflict: a scheduler process leads.
        """
        for _ in range(_MOST_ROUNDS):
            answer = yield from lead(self._keys, self._keys.scheduler_lease, self._name, self._token, lease_of(self._settings))
            self._token = answer.token
            if not answer.token:
                raise Conflict(f"scheduler {answer.leader} leads", hint="stop it, or let it do the work")
            self._ticker.changed((yield from read_changes(self._keys, self._snapshot)))
            tick = yield from self._ticker.tick(f"{answer.token}|{self._name}")
            if tick.outcome == "done" and (tick.next is None or tick.next > tick.now):
                return tick.next
        raise Conflict("the registry changes too fast: no slot could be fired against a revision of it")
