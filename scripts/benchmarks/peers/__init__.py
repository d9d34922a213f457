"""The task queues that are measured, each one module with one class of the form that `peer` gives.

taskq and RQ are in the bench's own virtual environment (`recorded`). The others have one each (`environments`), in which their worker
and a small client program run (`foreign`, `conversation`, and at the other end `benchmarks.clients`); their jobs are in the folder
``jobs``. Each is there as it is shipped, and as its documentation says that it is faster (``…-tuned``); what stores no results by choice
is a row of its own, since only a drain can be compared then.

A new one is a class and a row of `PEERS`; one that is no dependency of ours has a client program, a module of jobs and a file of
requirements as well. It is imported only when it is asked for.
"""

from __future__ import annotations

import importlib

from benchmarks.peers.peer import Peer

_LIBRARIES = "benchmarks.peers.libraries"

# name → module and class
PEERS = {
    "taskq": "benchmarks.peers.fleet:Taskq",
    "rq": "benchmarks.peers.stock:ForkingWorker",
    "simple": "benchmarks.peers.stock:SimpleWorker",
    "celery": f"{_LIBRARIES}:Celery",
    "celery-tuned": f"{_LIBRARIES}:CeleryTuned",
    "dramatiq": f"{_LIBRARIES}:Dramatiq",
    "dramatiq-results": f"{_LIBRARIES}:DramatiqResults",
    "dramatiq-tuned": f"{_LIBRARIES}:DramatiqTuned",
    "huey": f"{_LIBRARIES}:Huey",
    "huey-tuned": f"{_LIBRARIES}:HueyTuned",
    "huey-bare": f"{_LIBRARIES}:HueyBare",
    "taskiq": f"{_LIBRARIES}:Taskiq",
    "taskiq-tuned": f"{_LIBRARIES}:TaskiqTuned",
    "taskiq-bare": f"{_LIBRARIES}:TaskiqBare",
    "saq": f"{_LIBRARIES}:Saq",
    "saq-tuned": f"{_LIBRARIES}:SaqTuned",
    "streaq": f"{_LIBRARIES}:Streaq",
    "streaq-tuned": f"{_LIBRARIES}:StreaqTuned",
    "arq": f"{_LIBRARIES}:Arq",
    "arq-tuned": f"{_LIBRARIES}:ArqTuned",
}


def load(name: str) -> type[Peer]:
    """The class of the peer of that name."""
    module, _, attribute = PEERS[name].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, type)  # noqa: S101  # a fault of the table
    assert issubclass(found, Peer)  # noqa: S101  # the same
    return found
