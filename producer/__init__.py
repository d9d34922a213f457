"""What makes runs: the client and the scheduler (and, later, the triggers).

An enqueue is one round trip. The client keeps, for each task that it has used, the spec and a compiled validator together
with the registry's revision at which it read them (`catalog`). It validates the parameters against them and sends the run
with that revision; ``enqueue.lua`` compares it with the registry's and writes nothing if it has moved. Then the client
reads the task again and repeats. So no run is ever accepted against an outdated spec, nothing has to listen for changes,
and in the steady state nothing is asked twice. What a cached spec refuses is checked against a fresh one before it is
reported.

A task that was enqueued before is enqueued again with the least that can be done (`express`): what all its calls have in common is packed
once, and a connection of a client that is ours alone is kept at hand. On any answer but "accepted", and on none, the same run goes the
usual way, which is the only one that decides and explains.

`core` holds the operations as generators; `client` and `aclient` are thin faces that drive them over a blocking and an
asyncio connection, `run` the two faces of one run. Waiting for a result blocks on RQ's result stream of that run.

`scheduler` is a process of its own: it fires the tasks' schedules and moves delayed runs to their queues.

This room knows only `taskq.registry`. Names below are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.producer.aclient import AsyncClient
    from taskq.producer.client import Client
    from taskq.producer.run import AsyncRun, Run

__all__ = ["AsyncClient", "AsyncRun", "Client", "Run"]

_HOMES = {"AsyncClient": "aclient", "AsyncRun": "run", "Client": "client", "Run": "run"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
