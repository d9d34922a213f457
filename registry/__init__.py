"""What producers and workers agree on: specs, versions, artifacts, routes, the change log and its feed, keys, leases, runs.

The registry is a Redis hash (`keys.Keys.registry`): task → record. Each change of it is one WATCH/MULTI
(`changes.commit`) that raises the registry-wide revision by one, writes the change log and publishes. Pub/sub only makes
readers fast: `feed.Feed` reads the change log by revision, and each claim of a run returns the revision, so that a worker
that is behind catches up before it starts anything.

The packages, from the bottom up:

- `errors`, `names`, `settings`, `clock`, `keys`, `codec` with `kinds`, `serializer`: words that everything else is written in.
- `scripts`, ``lua/``, `effects`, `connect`: how Redis is spoken with. Operations are generators; sync and async faces drive
  the same ones.
- `authoring`: what task files import. Standard library only, as executors load it.
- `model`: typed records. `code`: artifacts, modules, parameters. `inspection`: which tasks a file declares.
- `changes`: who may change what, and the one transaction. `feed`: how a change reaches a worker. `runs`: runs as people see them.

This package imports none of the other rooms. Names below are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.registry.authoring.context import TaskContext
    from taskq.registry.authoring.retry import Retry
    from taskq.registry.authoring.task import Task, task
    from taskq.registry.changes.registry import Registry
    from taskq.registry.settings import Settings

_HOMES = {
    "Registry": "taskq.registry.changes.registry",
    "Retry": "taskq.registry.authoring.retry",
    "Settings": "taskq.registry.settings",
    "Task": "taskq.registry.authoring.task",
    "TaskContext": "taskq.registry.authoring.context",
    "task": "taskq.registry.authoring.task",
}
__all__ = ["Registry", "Retry", "Settings", "Task", "TaskContext", "task"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
