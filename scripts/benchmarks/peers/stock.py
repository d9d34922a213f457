"""RQ as it is shipped: its command ``rq worker``, with the class that forks for each job and with the one that does not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from benchmarks.clients.producer import Producer
from benchmarks.clients.rq import CLIENT
from benchmarks.peers.peer import THREADS, Setup, Way, Ways
from benchmarks.peers.recorded import Recorded
from benchmarks.processes import Process

_PROGRAM = Path(sys.executable).with_name("rq")
_PATH = Path(__file__).resolve().parents[1] / "jobs"


class _Stock(Recorded):
    """One ``rq worker``; for more slots, a pool of them."""

    distributions = ("rq",)
    queue = "default"
    options: ClassVar[tuple[str, ...]] = ()
    face: Producer

    def connect(self) -> Producer:
        return CLIENT(self.server.url)

    def prepare(self) -> None:
        """RQ's workers import what they are given."""

    def start_worker(self, setup: Setup = "default") -> Process:
        program = ("worker",) if setup == "default" else ("worker-pool", "--num-workers", str(THREADS))
        options = [str(_PROGRAM), *program, "--quiet", "--url", self.server.url, "--path", str(_PATH), *self.options]
        return self.processes.start("worker", options)

    def identities(self) -> list[str]:
        return [handle.id for handle in self.face.handles]


class ForkingWorker(_Stock):
    """The default: a process forked for each job."""

    title = "rq worker"
    share = 0.025
    setups: ClassVar[Ways] = {
        "default": Way("rq worker --quiet"),
        "threads": Way(f"rq worker-pool --quiet --num-workers {THREADS}"),
    }


class SimpleWorker(_Stock):
    """Jobs run in the worker's own process."""

    title = "SimpleWorker"
    share = 0.1
    measures = frozenset({"drain", "latency", "idle", "threads"})  # it is enqueued for as for the other
    setups: ClassVar[Ways] = {
        "default": Way("rq worker --quiet --worker-class rq.SimpleWorker"),
        "threads": Way(f"rq worker-pool --quiet --worker-class rq.SimpleWorker --num-workers {THREADS}"),
    }
    options = ("--worker-class", "rq.SimpleWorker")
