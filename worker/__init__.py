"""What executes runs: a supervisor that runs no task code, and the executor processes that do.

The packages, from the bottom up; each imports only those above it in this list:

- `link`: the supervisor's and the executor's common protocol, the channel that carries it, the process at its other end.
- `runs`: a claimed run, and pure decisions about its outcome.
- `resources`: limits of runs. Its `guard` names executors by the handle of `pool`: the one arrow that points down.
- `pool`: executors as the supervisor sees them, their deadlines, and what happens when one dies.
- `loading`: versions: fetched, tried in a throw-away executor, loaded ahead of their first use, dropped after their last.
- `life`: what a worker is started with, says of itself, and notices of the world around it.
- `supervisor`: the loops: claim, dispatch, record, renew, sweep, and what is asked of the worker.
- `executor`: the other process. It imports nothing of the above but the parts of `link` that both ends go by.
- `fleet`: `FleetWorker`, the face.
- `foreign`: RQ's own queues, a worker of another kind; of the above it imports a part of `link` alone.

The name below is loaded when it is first used: an executor imports this package as well, and must stay small.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.worker.fleet import FleetWorker

__all__ = ["FleetWorker"]


def __getattr__(name: str) -> Any:
    if name != "FleetWorker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("taskq.worker.fleet").FleetWorker
