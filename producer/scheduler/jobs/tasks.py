"""Tasks of taskq given to the methods of `FleetScheduler`: they become runs that are due later, not RQ jobs.

A task is a decorated function or a class. Its run is made as `Client` makes it: validated against the registry, on the task's
own queue, executed by `taskq worker`, moved there by `taskq scheduler` when it is due.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from taskq.producer.client import Client
from taskq.producer.naming import name_of
from taskq.producer.scheduler.jobs.times import span
from taskq.registry.authoring.task import Task
from taskq.registry.effects import run_sync
from taskq.registry.errors import Conflict, NotFound, Unsupported
from taskq.registry.keys import Keys
from taskq.registry.runs.cancellation import cancel_run
from taskq.registry.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

# Option of rq-scheduler's methods → where a task says it instead.
_ELSEWHERE: Final = {
    "id": "for a run that must be made only once use Client().options(key=…)",
    "ttl": "a run waits for as long as it takes; take it back with cancel",
    "result_ttl": "declare result_ttl= on the task",
    "description": "a run is described by the name of its task",
    "queue_name": "declare queue= on the task",
    "meta": "pass what the task needs as parameters",
    "depends_on": "enqueue the second task from the first",
    "on_success": "enqueue a second task from the first",
    "on_failure": "declare retry= on the task, or watch `taskq events`",
    "at_front": "give the task a queue of its own, and name that one first to `taskq worker --queues`",
}


def is_task(func: object) -> bool:
    """Whether ``func`` is a task of taskq: a decorated function, a class-form task, or an instance of one."""
    return isinstance(func, Task) or (inspect.isclass(func) and issubclass(func, Task))


def refuse_repeat(func: object, method: str) -> None:
    """Refuse to repeat a task; its schedule is declared. Raises `Unsupported` if ``func`` is a task."""
    if is_task(func):
        raise Unsupported(
            f"{method}: {name_of(func)} is a task of taskq, and repeats by the schedule that it declares",
            hint="declare it on the task, @task(every='30s') or @task(cron='0 6 * * *', timezone='Europe/Berlin'), and `taskq register` it",
        )


class TaskRuns:
    """Makes and takes back the runs of tasks over one connection.

    Args:
        connection: the scheduler's. ``settings``, ``keys``: of the namespace.
    """

    def __init__(self, connection: Redis, settings: Settings, keys: Keys) -> None:
        self._redis, self._settings, self._keys = connection, settings, keys
        self._client = Client(connection, settings=settings)

    def enqueue(
        self, func: Any, args: Sequence[Any], params: Mapping[str, Any], options: Mapping[str, Any], when: datetime | timedelta
    ) -> str:
        """Make a run; returns its id.

        Args:
            func: the task. ``args``, ``params``: its parameters.
            options: of the job, by the names of rq-scheduler's ``schedule``; only ``timeout`` applies to a task.
            when: the aware moment, or the time from now, at which it may start.

        Raises:
            Unsupported: an option is declared on the task, or not known to taskq; names it.
            NotFound, TaskRetired: the task accepts no runs.
            InvalidInput: the parameters don't fit its signature.
        """
        for name, hint in _ELSEWHERE.items():
            if options.get(name) not in (None, False):
                raise Unsupported(f"{name}={options[name]!r} is not for {name_of(func)}, which is a task of taskq", hint=hint)
        timeout = options.get("timeout")
        if isinstance(when, datetime):
            enqueuer = self._client.options(at=when, timeout=timeout)
        else:
            enqueuer = self._client.options(in_=max(span(when), timedelta(0)), timeout=timeout)
        run = enqueuer.enqueue(func, *args, **params)
        return str(run.id)

    def cancel(self, run: str) -> None:
        """Take a run back that is due later; one that is not there, or has been moved to its queue meanwhile, is left alone."""
        with suppress(NotFound, Conflict):
            run_sync(cancel_run(self._keys, self._settings, run), self._redis)
