"""``taskq worker --rq-serializer``: from the options of the command to one `RQWorker` or a crew of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError
from rq.utils import import_attribute
from rq.worker.base import DequeueStrategy

from taskq.registry.connect import connect
from taskq.registry.effects import translate
from taskq.registry.errors import Conflict, InvalidInput, TaskqError
from taskq.registry.runtime.process import unique_name
from taskq.registry.settings import Settings
from taskq.worker.foreign.crew import Crew
from taskq.worker.foreign.worker import RQWorker

log = logging.getLogger("taskq.worker")

_WARNING: Final = {
    "pickle": "jobs of RQ are pickled: whoever can write to this Redis can run any code in this worker and its jobs",
    "json": "jobs of RQ name the function that they call: whoever can write to this Redis can call any function with any arguments here",
}
# Options of `taskq worker` that mean something here: parameter → as it is written.
_OPTIONS: Final = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        *("rq_serializer", "with_scheduler", "exception_handler", "queues", "strategy", "executors", "name", "burst"),
        *("max_jobs", "max_idle", "recycle_after", "log_format", "verbose", "redis", "namespace"),
    )
}
_STRATEGIES: Final = {
    "ordered": DequeueStrategy.DEFAULT,
    "default": DequeueStrategy.DEFAULT,
    "round_robin": DequeueStrategy.ROUND_ROBIN,
    "random": DequeueStrategy.RANDOM,
}


@dataclass(frozen=True, slots=True)
class Service:
    """What a worker of RQ's queues is to do.

    Attributes:
        serializer: ``pickle`` or ``json``, as who enqueues has it.
        queues: RQ's names of them, the most urgent first.
        name: of the worker; a crew's are ``NAME.1`` and so on.
        workers: how many jobs run at once, each in a worker of its own.
        burst: end when the queues are empty. ``max_jobs``: end after so many. ``max_idle``: end after so many seconds without a job.
        strategy: in which order queues are asked: ``ordered``, ``round_robin`` or ``random``.
        with_scheduler: run RQ's scheduler as well, which enqueues what is due.
        handlers: exception handlers as ``module.function``, called in order where a job fails.
        recycle_after: replace a worker's process of jobs after so many.
        verbose: log details as well.
    """

    serializer: str
    queues: tuple[str, ...]
    name: str
    workers: int = 1
    burst: bool = False
    max_jobs: int | None = None
    max_idle: float | None = None
    strategy: str = "ordered"
    with_scheduler: bool = False
    handlers: tuple[str, ...] = ()
    recycle_after: int | None = None
    verbose: bool = False

    def check(self, settings: Settings) -> None:
        """Raises InvalidInput where these don't go together."""
        if self.serializer not in _WARNING:
            raise InvalidInput(f"--rq-serializer must be pickle or json, not {self.serializer!r}")
        if not self.queues:
            raise InvalidInput("--queues: a worker needs at least one queue")
        ours = f"{settings.namespace}."
        for queue in self.queues:
            if queue.startswith(ours):
                raise InvalidInput(
                    f"--queues: {queue!r} is a queue of taskq's, whose runs are no jobs of RQ's",
                    hint=f"serve it with `taskq worker --queues {queue.removeprefix(ours)}`",
                )
        if self.max_jobs is not None and self.workers > 1:
            raise InvalidInput("--max-jobs counts the jobs of one RQ worker: give --executors 1 with it")
        if self.strategy not in _STRATEGIES:
            raise InvalidInput(f"--strategy must be one of {', '.join(_STRATEGIES)}, not {self.strategy!r}")

    @classmethod
    def of(cls, values: Mapping[str, Any], given: Mapping[str, str]) -> Service:
        """From the options of ``taskq worker``.

        Args:
            values: of all its options, by the names of its parameters.
            given: those that were given, with how they are written.

        Raises:
            InvalidInput: one that was given is not for RQ's queues.
        """
        idle = ", ".join(option for name, option in given.items() if name not in _OPTIONS)
        if idle:
            raise InvalidInput(f"{idle}: not for RQ's queues (--rq-serializer)", hint=f"these are: {', '.join(_OPTIONS.values())}")
        least, most = values.get("executors") or (1, 1)
        if least != most:
            raise InvalidInput(
                f"--executors {least}:{most}: the number of workers of RQ's queues is fixed", hint=f"give --executors {most}"
            )
        return cls(
            serializer=values["rq_serializer"],
            queues=tuple(dict.fromkeys(filter(None, map(str.strip, values["queues"].split(","))))),
            name=values["name"] or unique_name("rq"),
            workers=most,
            handlers=tuple(values["exception_handler"]),
            **{name: values[name] for name in ("burst", "max_jobs", "max_idle", "strategy", "with_scheduler", "recycle_after", "verbose")},
        )


def serve(settings: Settings, service: Service) -> int:
    """Serve RQ's queues until told to end; returns the exit code.

    Raises:
        InvalidInput: what is asked for does not go together, or a handler can't be imported.
        Conflict: a live worker has this name.
        ServerUnreachable: Redis can't be reached at the start.
    """
    service.check(settings)
    sys.path.append(str(Path.cwd()))  # as `rq worker` does: a project's jobs are found in the folder where its worker is started
    handlers = _handlers(service.handlers)
    log.warning("%s", _WARNING[service.serializer])
    if service.workers == 1:
        _work(settings, service, service.name, handlers)
        return 0
    with connect(settings) as client:  # before any process is started, and is replaced again and again because it can't work
        _check_name(client, f"{service.name}.1")
    replaces = not service.burst and service.max_idle is None
    return Crew(service.workers, lambda number: _work(settings, service, f"{service.name}.{number}", handlers), replaces=replaces).work()


def _work(settings: Settings, service: Service, name: str, handlers: Sequence[Callable[..., Any]]) -> None:
    """Be one worker until it ends; raises TaskqError where an error has ended it."""
    try:
        worker = RQWorker(
            list(service.queues),
            name=name,
            connection=connect(settings),
            serializer=service.serializer,
            exception_handlers=list(handlers) or None,
            recycle_after=service.recycle_after,
        )
        _check_name(worker.connection, name)
        worker.work(
            burst=service.burst,
            logging_level="DEBUG" if service.verbose else "INFO",
            max_jobs=service.max_jobs,
            max_idle_time=None if service.max_idle is None else max(1, round(service.max_idle)),
            with_scheduler=service.with_scheduler,
            dequeue_strategy=_STRATEGIES[service.strategy],
        )
    except RedisError as error:
        raise translate(error) from error
    if isinstance(worker.failure, RedisError):
        raise translate(worker.failure) from worker.failure
    if worker.failure is not None:
        raise TaskqError(f"the worker has ended: {type(worker.failure).__name__}: {worker.failure}") from worker.failure


def _check_name(client: Redis, name: str) -> None:
    key = f"{RQWorker.redis_worker_namespace_prefix}{name}"
    try:
        taken = client.exists(key) and not client.hexists(key, "death")
    except RedisError as error:
        raise translate(error) from error
    if taken:
        raise Conflict(f"a worker named {name!r} is alive already", hint="give another --name, or wait until its key expires")


def _handlers(names: Sequence[str]) -> list[Callable[..., Any]]:
    found = []
    for name in names:
        try:
            found.append(import_attribute(name))
        except (ImportError, ValueError, AttributeError) as error:
            raise InvalidInput(f"--exception-handler {name}: {error}", hint="it is written module.function") from error
    return found
