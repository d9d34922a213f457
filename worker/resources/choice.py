"""`choose`: how this worker holds runs to their limits; decided once, at its start."""

from __future__ import annotations

import logging
from typing import Literal

from taskq.registry.errors import Unsupported
from taskq.worker.resources import places
from taskq.worker.resources.backend import Backend
from taskq.worker.resources.v1 import open_v1
from taskq.worker.resources.v2 import open_v2
from taskq.worker.resources.watchdog import Watchdog

log = logging.getLogger("taskq.worker")
Wanted = Literal["auto", "v2", "v1", "watchdog"]


def choose(wanted: Wanted, worker: str) -> Backend:
    """The best backend that works here; with ``wanted`` that one.

    Args:
        worker: our name, for the names of control groups.

    Raises:
        Unsupported: the wanted one does not work here.
    """
    if wanted == "watchdog":
        return Watchdog("it was asked for by limits_by")
    unified, by_controller = places.look()
    refused = []
    for name, make in (("v2", lambda: open_v2(unified, worker)), ("v1", lambda: open_v1(by_controller, worker))):
        if wanted not in ("auto", name):
            continue
        made = make()
        if not isinstance(made, str):
            return made
        refused.append(made)
    if wanted != "auto":
        hint = "leave it at auto to have the best that works; see `taskq doctor`"
        raise Unsupported(f"limits_by (TASKQ_LIMITS_BY) is {wanted}, which does not work here: {refused[0]}", hint=hint)
    return Watchdog("; ".join(refused))
