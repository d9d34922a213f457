"""taskq: a fleet of workers on Redis whose tasks are registered, changed, rolled out and rolled back while everything runs.

This package is the face: what task files and programs import, the ``taskq`` command line (`taskq.cli`, `taskq.commands`)
and everything on one machine (`taskq.up`). It alone sees all three rooms, `taskq.registry`, `taskq.producer` and
`taskq.worker`, which see it never.

It is lazy: each name is imported when it is first asked for. A task file that says ``from taskq import task`` is imported
in executors, which must stay small, and ``taskq --help`` must be fast; neither may pay for redis or pydantic.

PYTEST_DONT_REWRITE: the plug-in of `taskq.testing` is part of this package, so pytest would want to rewrite its assertions, and
warn of a package that somebody has imported before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.producer.aclient import AsyncClient
    from taskq.producer.client import Client
    from taskq.producer.run import AsyncRun, Run
    from taskq.registry.authoring.context import TaskContext
    from taskq.registry.authoring.retry import Retry
    from taskq.registry.authoring.task import Task, task
    from taskq.registry.changes.registry import Registry
    from taskq.registry.errors import (
        Conflict,
        DistributionMissing,
        FormatUnknown,
        InspectionFailed,
        InvalidInput,
        NotFound,
        Refused,
        RolloutFailed,
        RunFailed,
        ServerUnreachable,
        TaskqError,
        TaskRetired,
        Unsupported,
        WaitTimeout,
    )
    from taskq.registry.settings import Settings

_HOMES = {
    "taskq.registry.authoring.task": ("Task", "task"),
    "taskq.registry.authoring.context": ("TaskContext",),
    "taskq.registry.authoring.retry": ("Retry",),
    "taskq.producer.client": ("Client",),
    "taskq.producer.aclient": ("AsyncClient",),
    "taskq.producer.run": ("AsyncRun", "Run"),
    "taskq.registry.changes.registry": ("Registry",),
    "taskq.registry.settings": ("Settings",),
    "taskq.registry.errors": (
        "Conflict",
        "DistributionMissing",
        "FormatUnknown",
        "InspectionFailed",
        "InvalidInput",
        "NotFound",
        "Refused",
        "RolloutFailed",
        "RunFailed",
        "ServerUnreachable",
        "TaskRetired",
        "TaskqError",
        "Unsupported",
        "WaitTimeout",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncClient",
    "AsyncRun",
    "Client",
    "Conflict",
    "DistributionMissing",
    "FormatUnknown",
    "InspectionFailed",
    "InvalidInput",
    "NotFound",
    "Refused",
    "Registry",
    "Retry",
    "RolloutFailed",
    "Run",
    "RunFailed",
    "ServerUnreachable",
    "Settings",
    "Task",
    "TaskContext",
    "TaskRetired",
    "TaskqError",
    "Unsupported",
    "WaitTimeout",
    "task",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'taskq' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
