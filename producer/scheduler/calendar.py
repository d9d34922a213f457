"""The schedules that the registry asks for: a view of its snapshot, and what differs from those that stand in Redis."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from taskq.producer.scheduler.decisions import Rules
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.model.record import TaskRecord
from taskq.registry.model.spec import Spec
from taskq.registry.schedules.schedule import member, schedules_of


@dataclass(frozen=True, slots=True)
class Entry:
    """One schedule that the registry asks for.

    ``name`` is what it is called in Redis, ``since`` when its task was last changed, in ms since the epoch by Redis' clock (0: not known).
    """

    name: str
    rules: Rules
    spec: Spec
    since: int

    def first_slot(self, now: int) -> int | None:
        """The slot that it begins with if it is new: the first one after the change that brought it, None where none is left.

        That may be past: then it came between the change and the moment at which a scheduler saw it.
        """
        return self.rules.schedule.next_after(self.since or now)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is to be added to the schedules in Redis, and what is to be removed."""

    added: tuple[Entry, ...] = ()
    removed: tuple[str, ...] = ()


class Calendar:
    """The schedules of a snapshot, always those of its present revision.

    Args:
        snapshot: of the registry. ``grace``: how late a slot may fire before the misfire policy decides, in seconds.
    """

    def __init__(self, snapshot: Snapshot, grace: float) -> None:
        self.snapshot = snapshot
        self._grace = round(grace * 1000)
        self._known: dict[str, tuple[TaskRecord, dict[str, Entry]]] = {}

    def of(self, task: str) -> dict[str, Entry]:
        """The schedules of one task by name; none for a task that is not there, retired, or not switched to a version yet."""
        record = self.snapshot.tasks.get(task)
        if record is None:
            self._known.pop(task, None)
            return {}
        known = self._known.get(task)
        if known is None or known[0] is not record:
            known = self._known[task] = (record, _entries(record, self._grace))
        return known[1]

    def find(self, name: str) -> Entry | None:
        """The schedule of this name, None if the registry does not ask for it (any more)."""
        return self.of(task_of(name)).get(name)

    def difference(self, there: Collection[str], tasks: Iterable[str]) -> Difference:
        """What differs from the schedules that stand in Redis.

        Those of a task that another release wrote are left as they are: it may ask for them, and they may have fired.

        Args:
            there: names of the schedules of ``tasks`` that stand in Redis.
            tasks: that are compared.
        """
        wanted = {name: entry for task in tasks for name, entry in self.of(task).items()}
        added = tuple(entry for name, entry in wanted.items() if name not in there)
        removed = tuple(name for name in there if name not in wanted and task_of(name) not in self.snapshot.unreadable)
        return Difference(added, removed)


def task_of(name: str) -> str:
    """The task of a schedule's name."""
    return name.partition("|")[0]


def _entries(record: TaskRecord, grace: int) -> dict[str, Entry]:
    if record.state == "retired" or record.route.stable is None:
        return {}
    spec, since = record.spec, int(record.changed_at * 1000)
    found = {}
    for schedule in schedules_of(spec):
        rules = Rules(record.task, schedule, spec.misfire, spec.overlap, paused=record.state == "paused", grace=grace)
        name = member(record.task, schedule)
        found[name] = Entry(name, rules, spec, since)
    return found
