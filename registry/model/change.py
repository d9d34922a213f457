"""`Change`: one entry of the change log; `cloud_event`: its form for other programs."""

from __future__ import annotations

from typing import Any, Literal

from taskq.registry import clock
from taskq.registry.model.base import Stored

ChangeType = Literal[
    "registered", "staged", "unstaged", "promoted", "rolled_back", "canary", "shadow", "set", "paused", "resumed", "retired", "release"
]


class TaskChange(Stored):
    """What a change did to one task: ``before`` and ``after`` are dumped `TaskRecord` mappings, ``before`` None if it is new."""

    task: str
    version: int | None = None
    digest: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any]


class Change(Stored):
    """One committed change: who, when (seconds since the epoch, Redis' clock), what and why.

    A release of several tasks has type ``release``; ``action`` is what was done to each of its tasks.
    """

    revision: int
    type: ChangeType
    action: ChangeType
    at: float
    who: str = ""
    why: str = ""
    tasks: tuple[TaskChange, ...] = ()


def cloud_event(change: Change, namespace: str) -> dict[str, Any]:
    """The CloudEvents 1.0 document of a change; ``id`` is the revision, ``subject`` the task if it is one."""
    single = change.tasks[0] if len(change.tasks) == 1 else None
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(change.revision),
        "source": f"taskq/{namespace}",
        "type": f"taskq.registry.{change.type}",
        "time": clock.iso(change.at),
        "datacontenttype": "application/json",
        "data": {
            "revision": change.revision,
            "action": change.action,
            "who": change.who,
            "why": change.why,
            "tasks": [{"task": item.task, "version": item.version, "digest": item.digest} for item in change.tasks],
        },
    }
    if single:
        event["subject"] = single.task
        event["data"]["version"] = single.version
    return event
