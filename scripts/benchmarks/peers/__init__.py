"""The task queues that are measured, each one module with one class of the form that `peer` gives.

A new one is a module and a row of `PEERS`. It is imported only when it is asked for.
"""

from __future__ import annotations

import importlib

from benchmarks.peers.peer import Peer

# name → module and class
PEERS = {
    "taskq": "benchmarks.peers.fleet:Taskq",
    "rq": "benchmarks.peers.stock:ForkingWorker",
    "simple": "benchmarks.peers.stock:SimpleWorker",
}


def load(name: str) -> type[Peer]:
    """The class of the peer of that name."""
    module, _, attribute = PEERS[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, type)  # noqa: S101  # a fault of the table
    assert issubclass(found, Peer)  # noqa: S101  # the same
    return found
