"""`FleetWorker`: a worker as programs and the command line start it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taskq.registry.connect import with_server
from taskq.registry.errors import InvalidInput
from taskq.registry.names import check
from taskq.registry.runtime.process import unique_name
from taskq.registry.runtime.signals import work_until_signalled
from taskq.registry.settings import Settings
from taskq.worker.life.plan import Plan
from taskq.worker.link.descendants import shield_process
from taskq.worker.pool.recycling import Wear
from taskq.worker.supervisor.order import check_strategy
from taskq.worker.supervisor.supervisor import Supervisor

log = logging.getLogger("taskq.worker")


class FleetWorker:
    """A worker: takes runs of its queues and has its executors run them.

    Args:
        queues: names of queues, in order of priority.
        connection: a client of redis-py whose server is used, or a URL; the settings' server if None.
        settings: of this process; from the environment if None.
        name: unique in the fleet; made from host and pid if None.
        executors: how many, or the least and the most: then there are as many as the backlog needs; as many as there are cores if None.
        strategy: in which order queues are looked at: ``ordered`` (the most urgent first), ``round_robin`` or ``random``.
        grace: seconds that runs in progress have once it is to stop; None for the longest grace of their own, 10 s at least.
        health_file: a file that is there, and rewritten with each heartbeat, while it takes runs.
        recycle_after: an executor is replaced after about so many runs. ``recycle_memory``: once it holds so many bytes, between its runs
            or while one goes on. Either way the fresh one is loaded before the old one finishes what it has begun and exits.
        dedicated: this process is nothing but a worker: it is made unreadable to others of its user, and reaps what task code leaves
            behind, which ends any child process that the worker did not start.

    Raises:
        InvalidInput: a name or a number is not allowed.
    """

    def __init__(
        self,
        queues: Sequence[str] = ("default",),
        connection: Any = None,
        *,
        settings: Settings | None = None,
        name: str | None = None,
        executors: int | tuple[int, int] | None = None,
        dedicated: bool = False,
        strategy: str = "ordered",
        grace: float | None = None,
        health_file: str | Path | None = None,
        recycle_after: int | None = None,
        recycle_memory: int | None = None,
    ) -> None:
        self.settings = with_server(settings or Settings.load(), connection)
        names = (queues,) if isinstance(queues, str) else tuple(dict.fromkeys(queues))
        self.queues = tuple(check("queue", queue) for queue in names)
        if not self.queues:
            raise InvalidInput("a worker needs at least one queue")
        self.name = check("worker", name or unique_name())
        self.executors, self.most_executors = _range(executors)
        self.strategy = check_strategy(strategy)
        self.grace = None if grace is None else _at_least("grace", grace, 0)
        self.health = None if health_file is None else Path(health_file)
        if self.health is not None and not self.health.parent.is_dir():
            raise InvalidInput(f"health_file {str(self.health)!r}: there is no folder {self.health.parent}")
        if self.health is not None and self.health.is_dir():
            raise InvalidInput(f"health_file {str(self.health)!r} is a folder: name a file in it")
        self.wear = Wear(_positive("recycle_after", recycle_after), _positive("recycle_memory", recycle_memory))
        self.dedicated = dedicated

    def work(self, burst: bool = False, max_jobs: int | None = None, max_idle: float | None = None) -> int:
        """Work until SIGTERM or SIGINT (the second one ends it at once), and return the exit code, which is 0.

        Args:
            burst: end once the queues are empty and all runs have ended.
            max_jobs: end after so many runs. ``max_idle``: end after so many seconds without one.

        Raises:
            Conflict: a live worker has this name.
            ServerUnreachable: Redis can't be reached at the start.
        """
        if self.dedicated:
            shield_process()
        plan = Plan(
            self.name,
            self.queues,
            self.executors,
            self.most_executors,
            burst=burst,
            max_jobs=_positive("max_jobs", max_jobs),
            max_idle=None if max_idle is None else _at_least("max_idle", max_idle, 0),
            strategy=self.strategy,
            grace=self.grace,
            health=self.health,
            wear=self.wear,
            dedicated=self.dedicated,
        )
        asyncio.run(self._work(plan))
        return 0

    async def _work(self, plan: Plan) -> None:
        await work_until_signalled(Supervisor(self.settings, plan), dedicated=self.dedicated)


def _range(executors: int | tuple[int, int] | None) -> tuple[int, int]:
    """The least and the most executors."""
    if executors is None:
        executors = len(os.sched_getaffinity(0))
    least, most = (executors, executors) if isinstance(executors, int) else executors
    if least < 1:
        raise InvalidInput(f"executors must be at least 1, not {least}")
    if most < least:
        raise InvalidInput(f"executors {least}:{most}: the most must not be less than the least")
    return least, most


def _positive(name: str, value: int | None) -> int | None:
    return None if value is None else int(_at_least(name, value, 1))


def _at_least(name: str, value: float, least: int) -> float:
    if not value >= least:
        raise InvalidInput(f"{name} must be at least {least}, not {value:g}")
    return value
