"""`Snapshot`: all task records as of one revision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskq.registry.errors import FormatUnknown
from taskq.registry.model.record import TaskRecord


class Snapshot:
    """What a process knows of the registry.

    Attributes:
        revision: the revision that this is a picture of; 0 before the first catch-up.
        tasks: task → its record.
        unreadable: tasks whose record another release wrote, with the reason: their runs are put back, never guessed at.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.tasks: dict[str, TaskRecord] = {}
        self.unreadable: dict[str, str] = {}

    def apply(self, reply: Sequence[Any]) -> set[str]:
        """Move to the revision of a reply of ``catchup.lua``.

        Returns:
            the tasks that are new, different or gone.
        """
        revision, kind = int(reply[0]), _text(reply[1])
        records = {_text(reply[at]): reply[at + 1] for at in range(2, len(reply), 2)}
        if kind == "full":
            gone = (self.tasks.keys() | self.unreadable.keys()) - records.keys()
        elif revision < self.revision:
            return set()  # an answer that was overtaken
        else:
            gone = {task for task, blob in records.items() if blob is None}
        changed = {task for task in gone if self._drop(task)}
        changed |= {task for task, blob in records.items() if blob is not None and self._put(task, blob)}
        self.revision = revision
        return changed

    def _drop(self, task: str) -> bool:
        known = task in self.tasks or task in self.unreadable
        self.tasks.pop(task, None)
        self.unreadable.pop(task, None)
        return known

    def _put(self, task: str, blob: bytes) -> bool:
        try:
            record = TaskRecord.load(blob)
        except FormatUnknown as error:
            self.tasks.pop(task, None)
            before = self.unreadable.get(task)
            self.unreadable[task] = error.message
            return before != error.message
        self.unreadable.pop(task, None)
        if self.tasks.get(task) == record:
            return False
        self.tasks[task] = record
        return True


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
