"""RQ's own queues: ordinary RQ jobs in a warm process, so that a team can move from RQ queue by queue.

`RQWorker` is a `rq.worker.BaseWorker` that takes the place of `rq.Worker`: the same constructor, the same ``work()``, the same keys.
It is used by ``taskq worker --rq-serializer pickle|json``, by ``rq worker --worker-class taskq.worker.foreign.RQWorker``, and in Python.

**Off by default, and apart from everything else.** Jobs of RQ are data that say which code to run: whoever can write to that Redis
runs code in these processes (with JSON any importable function, with pickle anything at all), and a job's process holds the
credential of Redis, as RQ's jobs do. So this mode is an option of its own that says so when it starts; it takes RQ's names of queues
and refuses ours; and no other part of taskq imports this package or unpickles anything.

**What is RQ's stays RQ's.** The loop, registries, dependents, callbacks, retries, repeats, groups, rate limits, results, counters,
heartbeats, commands and maintenance are `BaseWorker`'s code, so that they are right by construction. Four things are ours:

1. *Where a job executes* (`horse`, `riding`). RQ forks a process for each job. Here the worker forks one when it starts, while it has
   no other thread, and gives it one job after the other over a socketpair; what a job imports stays imported, connections that its
   modules hold stay open. The horse runs `BaseWorker.perform_job`, the very method that RQ's horse runs; `main_work_horse`, which ends
   its process, is not called. What a job may change of the process (environment, folder, umask, signal handlers and mask, standard
   streams, ``sys.path``, the state of ``random``) is put back after it; limits, locale and what modules hold stay as it leaves them.
   A job that dies takes the horse with it; the job fails as RQ fails it ("Work-horse terminated unexpectedly"), and a new horse is
   forked. One whose end stands in Redis by then is left as it is. Where no horse can be forked, the job is put back first.
   A fork, not an exec: exception handlers, job classes and subclasses live in the program that made the worker, and not all of them
   can be imported elsewhere.
2. *How it is stopped.* RQ's horse leads a process group, and the group is killed. Here everything below the horse is killed, by /proc
   and with the horse as subreaper, so that a child which called ``setsid`` doesn't survive. So is a job that overstays its timeout by
   a minute. A stopped job's callback is run by the next horse.
3. *How often it asks Redis* (`claim`, `sparing`). RQ makes about twenty round trips for a job, most of which say the same thing again
   a millisecond later. Here a worker that has just ended a job heartbeats, looks for a suspension, takes the next job and reads it in
   one script; what worker and horse note before a job begins goes in one transaction. Each key holds the same afterwards; only
   between two jobs in a row a worker is not said to be idle. Subclasses of `Queue` or `Job` that take or fetch jobs in their own way
   are asked in that way.
4. *What an outage of Redis does* (`patience`). RQ's worker ends with exit code 0 where Redis does not answer in the middle of a job.
   Here it waits, as RQ's does when it is idle. A job that ended meanwhile could not tell its result, and fails when Redis is back.
   An error that does end the loop is logged, as RQ's is, and kept as `RQWorker.failure`; ``taskq worker`` exits 1 for it, or 5.

**What of a job reaches the worker's own process.** Its function, arguments and callbacks don't, with two exceptions, which are RQ's as
well: reading a job reads its ``meta``, which with pickle may run code; and where maintenance finds a job abandoned, since its worker was
killed, it calls the job's failure callback and the exception handlers. ``work_horse_killed_handler`` is called there, too.

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
