"""RQ's own queues: ordinary RQ jobs in a warm process, so that a team can move from RQ queue by queue.

`RQWorker` is a `rq.worker.BaseWorker` that takes the place of `rq.Worker`: the same constructor, the same ``work()``, the same keys.
It is used by ``taskq worker --rq-serializer pickle|json``, by ``rq worker --worker-class taskq.worker.foreign.RQWorker``, and in Python.

**Off by default, and apart from everything else.** Jobs of RQ are data that say which code to run: whoever can write to that Redis
runs code in these processes (with JSON any importable function, with pickle anything at all), and a job's process holds the
credential of Redis, as RQ's jobs do. So this mode is an option of its own that says so when it starts; it takes RQ's names of queues
and refuses ours; and no other part of taskq imports this package or unpickles anything.

**What is RQ's stays RQ's.** The loop, registries, dependents, callbacks, retries, repeats, groups, rate limits, results, counters,
heartbeats, commands and maintenance are `BaseWorker`'s code, so that they are right by construction. Three things are ours:

1. *Where a job executes* (`horse`, `riding`). RQ forks a process for each job. Here the worker forks one when it starts, while it has
   no other thread, and gives it one job after the other over a socketpair; what a job imports stays imported, connections that its
   modules hold stay open. The horse runs `BaseWorker.perform_job`, the very method that RQ's horse runs. What a job may change of the
   process (environment, folder, signal handlers, the state of ``random``) is put back after it. A job that dies takes the horse with
   it; the job fails as RQ fails it ("Work-horse terminated unexpectedly"), and a new horse is forked.
   A fork, not an exec: exception handlers, job classes and subclasses live in the program that made the worker, and not all of them
   can be imported elsewhere.
2. *How it is stopped.* RQ's horse leads a process group, and the group is killed. Here everything below the horse is killed, by /proc
   and with the horse as subreaper, so that a child which called ``setsid`` doesn't survive. So is a job that overstays its timeout by
   a minute. A stopped job's callback is run by the next horse: the worker's own process runs no job's code.
3. *How often it asks Redis* (`claim`, `sparing`). RQ makes about twenty round trips for a job, most of which say the same thing again
   a millisecond later. Here a worker that has just ended a job heartbeats, looks for a suspension, takes the next job and reads it in
   one script; what worker and horse note before a job begins goes in one transaction. Each key holds the same afterwards; only
   between two jobs in a row a worker is not said to be idle. Subclasses of `Queue` or `Job` that take or fetch jobs in their own way
   are asked in that way.

**Which code a job sees.** The horse's: a module is imported by the first job that needs it, and stays until the horse is replaced:
when it dies, after ``recycle_after`` jobs, on SIGUSR1 to the worker, or by ``rq.command.send_command(connection, worker, "recycle")``;
the last two take effect before the next job. RQ's forking worker imports anew for each job, so a deployment that overwrites files
under a running worker must send one of them. Threads and child processes that a job leaves behind go on, as with `rq.SimpleWorker`;
they end when the horse is killed.

**Several jobs at once** (`crew`): ``--executors N`` starts N of these workers as processes below one command, named ``NAME.1`` …,
each visible in ``rq info``, as ``rq worker-pool`` does. One that dies is replaced.

A worker that is killed leaves its horse to end its job, as RQ's does; then the horse finds itself alone and exits.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.worker.foreign.serving import Service, serve
    from taskq.worker.foreign.worker import RQWorker

__all__ = ["RQWorker", "Service", "serve"]

_PLACES = {"RQWorker": "taskq.worker.foreign.worker", "Service": "taskq.worker.foreign.serving", "serve": "taskq.worker.foreign.serving"}


def __getattr__(name: str) -> Any:
    # Loaded when first used: an ordinary worker shall not pay for rq, and need not have it.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
