"""RQ as it is shipped: its command ``rq worker``, with the class that forks for each job and with the one that does not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from redis import Redis
from rq import Queue
from rq.results import Result

from benchmarks.errors import BenchError
from benchmarks.peers.peer import Ended, Job, Peer
from benchmarks.peers.records import Records
from benchmarks.processes import Process, Processes
from benchmarks.server import Server

_PROGRAM = Path(sys.executable).with_name("rq")
_PATH = Path(__file__).resolve().parents[1] / "jobs"
_FUNCTIONS = {"constant": "bench_jobs.constant", "now": "bench_jobs.now"}


class _Stock(Peer):
    """One ``rq worker``."""

    distributions = ("rq",)
    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, server: Server, processes: Processes) -> None:
        super().__init__(server, processes)
        self._redis = Redis.from_url(server.url)
        self._queue = Queue(connection=self._redis)
        self._records = Records(server.client, self._queue.name)

    def prepare(self) -> None:
        """RQ's workers import what they are given."""

    def start_worker(self) -> Process:
        common = [str(_PROGRAM), "worker", "--quiet", "--url", self.server.url, "--path", str(_PATH)]
        return self.processes.start("worker", [*common, *self.options])

    def enqueue(self, job: Job) -> Any:
        return self._queue.enqueue(_FUNCTIONS[job])

    def enqueue_many(self, job: Job, count: int) -> list[Any]:
        return list(self._queue.enqueue_many([Queue.prepare_data(_FUNCTIONS[job]) for _ in range(count)]))

    def waiting(self) -> int:
        return self._records.waiting()

    def finished(self) -> int:
        return self._records.finished()

    def ended(self, handles: Sequence[Any]) -> list[Ended]:
        return self._records.ended([handle.id for handle in handles])

    def result(self, handle: Any, timeout: int) -> Any:
        found = handle.latest_result(timeout=timeout)
        if found is None or found.type != Result.Type.SUCCESSFUL:
            raise BenchError(f"{self.title}: job {handle.id} has {'no result' if found is None else found.exc_string}")
        return found.return_value

    def close(self) -> None:
        self._redis.close()


class ForkingWorker(_Stock):
    """The default: a process forked for each job."""

    title = "rq worker"
    share = 0.025
    command = "rq worker --quiet"


class SimpleWorker(_Stock):
    """Jobs run in the worker's own process."""

    title = "SimpleWorker"
    share = 0.1
    command = "rq worker --quiet --worker-class rq.SimpleWorker"
    options = ("--worker-class", "rq.SimpleWorker")
