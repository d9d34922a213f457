"""`FleetWorker`: a worker as programs and the command line start it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Any

from taskq.registry.connect import with_server
from taskq.registry.errors import InvalidInput
from taskq.registry.names import check
from taskq.registry.runtime.process import unique_name
from taskq.registry.runtime.signals import work_until_signalled
from taskq.registry.settings import Settings
from taskq.worker.link.descendants import shield_process
from taskq.worker.supervisor.supervisor import Plan, Supervisor

log = logging.getLogger("taskq.worker")


class FleetWorker:
    """A worker: takes runs of its queues and has its executors run them.

    Args:
        queues: names of queues, in order of priority.
        connection: a client of redis-py whose server is used, or a URL; the settings' server if None.
        settings: of this process; from the environment if None.
        name: unique in the fleet; made from host and pid if None.
        executors: how many; as many as there are cores if None.
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
        executors: int | None = None,
        dedicated: bool = False,
    ) -> None:
        self.settings = with_server(settings or Settings.load(), connection)
        names = (queues,) if isinstance(queues, str) else tuple(dict.fromkeys(queues))
        self.queues = tuple(check("queue", queue) for queue in names)
        if not self.queues:
            raise InvalidInput("a worker needs at least one queue")
        self.name = check("worker", name or unique_name())
        self.executors = executors if executors is not None else len(os.sched_getaffinity(0))
        if self.executors < 1:
            raise InvalidInput(f"executors must be at least 1, not {self.executors}")
        self.dedicated = dedicated

    def work(self, burst: bool = False, max_jobs: int | None = None) -> int:
        """Work until SIGTERM or SIGINT (the second one ends it at once), and return the exit code.

        Args:
            burst: end once the queues are empty and all runs have ended.
            max_jobs: end after so many runs.

        Raises:
            Conflict: a live worker has this name.
            ServerUnreachable: Redis can't be reached at the start.
        """
        if self.dedicated:
            shield_process()
        plan = Plan(self.name, self.queues, self.executors, burst=burst, max_jobs=max_jobs, dedicated=self.dedicated)
        asyncio.run(self._work(plan))
        return 0

    async def _work(self, plan: Plan) -> None:
        await work_until_signalled(Supervisor(self.settings, plan), dedicated=self.dedicated)
