"""taskq as it is installed: the command ``taskq`` for registering and working, the `Client` for enqueueing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchError
from benchmarks.peers.peer import Ended, Job, Peer
from benchmarks.peers.records import Records
from benchmarks.processes import Process, Processes, run
from benchmarks.server import Server
from taskq import Client, Settings, TaskqError

PROGRAM = Path(sys.executable).with_name("taskq")
_TASKS = Path(__file__).parents[1] / "jobs/bench_tasks.py"
_QUEUE = "taskq.default"


class Taskq(Peer):
    """One ``taskq worker`` with its default settings: an executor a core."""

    title = "taskq"
    share = 1.0
    distributions = ("taskq-fleet",)
    command = "taskq worker"

    def __init__(self, server: Server, processes: Processes) -> None:
        super().__init__(server, processes)
        self._client = Client(settings=Settings(redis_url=server.url))
        self._records = Records(server.client, _QUEUE)

    def prepare(self) -> None:
        run([PROGRAM, "register", _TASKS], TASKQ_REDIS_URL=self.server.url)

    def start_worker(self, name: str = "worker", *options: str) -> Process:
        """Start a worker.

        Args:
            name: of its log. ``options``: of its command.
        """
        return self.processes.start(name, [PROGRAM, "worker", *options], TASKQ_REDIS_URL=self.server.url)

    def enqueue(self, job: Job) -> Any:
        return self._client.enqueue(job)

    def enqueue_many(self, job: Job, count: int) -> list[Any]:
        return list(self._client.enqueue_many(job, [{}] * count))

    def waiting(self) -> int:
        return self._records.waiting()

    def finished(self) -> int:
        return self._records.finished()

    def ended(self, handles: Sequence[Any]) -> list[Ended]:
        return self._records.ended([handle.id for handle in handles])

    def result(self, handle: Any, timeout: int) -> Any:
        try:
            return handle.wait(timeout)
        except TaskqError as error:
            raise BenchError(f"taskq: run {handle.id}: {error}") from error

    def close(self) -> None:
        self._client.close()
