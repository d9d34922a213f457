"""taskq as it is installed: the command ``taskq`` for registering and working, the `Client` for enqueueing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from benchmarks.clients.producer import Producer
from benchmarks.clients.taskq import CLIENT
from benchmarks.errors import BenchError
from benchmarks.peers.peer import COROUTINES, Setup, Way, Ways
from benchmarks.peers.recorded import Recorded
from benchmarks.processes import Process, run

PROGRAM = Path(sys.executable).with_name("taskq")
JOBS = Path(__file__).parents[1] / "jobs"
_OPTIONS: dict[Setup, tuple[str, ...]] = {
    "default": (),
    "threads": ("--executors", "2"),
    "async": ("--executors", "2", "--async-slots", str(COROUTINES // 2)),
}


class Taskq(Recorded):
    """One ``taskq worker`` with its default settings: an executor a core."""

    title = "taskq"
    share = 1.0
    distributions = ("taskq-fleet", "redis", "hiredis")
    queue = "taskq.default"
    setups: ClassVar[Ways] = {
        "default": Way("taskq worker"),
        "threads": Way("taskq worker --executors 2, @task(threads=8)"),
        "async": Way("taskq worker --executors 2 --async-slots 250"),
    }
    face: Producer

    def connect(self) -> Producer:
        return CLIENT(self.server.url)

    def prepare(self) -> None:
        self.register("bench_tasks.py")

    def register(self, *files: str | Path) -> None:
        """Register files; a bare name is one of the folder ``jobs``."""
        run([PROGRAM, "register", *(JOBS / file for file in files)], TASKQ_REDIS_URL=self.server.url)

    def start_worker(self, setup: Setup = "default") -> Process:
        if setup != "default":
            self.register("slot_tasks.py")
        return self.worker("worker", *_OPTIONS[setup])

    def worker(self, name: str, *options: str, **environment: str) -> Process:
        """Start a worker.

        Args:
            name: of its log. ``options``: of its command. ``environment``: added to its own.
        """
        return self.processes.start(name, [PROGRAM, "worker", *options], TASKQ_REDIS_URL=self.server.url, **environment)

    def identities(self) -> list[str]:
        return [handle.id for handle in self.face.handles]

    def failed(self) -> int:
        """How many runs have failed."""
        return int(self.server.client.zcard(f"rq:failed:{self.queue}"))

    def none_failed(self) -> None:
        """Raise `BenchError` where a run has failed."""
        if self.failed():
            raise BenchError(f"taskq: {self.failed()} runs have failed")
