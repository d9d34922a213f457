"""Goes through the plan: each measurement with a server, a folder and processes of its own, of which nothing stays."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import redis

from benchmarks import machine
from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell
from benchmarks.measures import find, fits
from benchmarks.peers import load
from benchmarks.processes import Processes
from benchmarks.server import Aof, Server
from taskq import TaskqError

_LOOK = 0.5
_QUICK_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    ``peers``, ``measures`` and ``aof`` are combined with each other, all of it ``repeat`` times; ``folder`` holds the servers' files.
    """

    peers: tuple[str, ...]
    measures: tuple[str, ...]
    aof: tuple[Aof, ...]
    repeat: int
    size: Size
    folder: Path
    quick: bool = False

    def steps(self) -> list[Step]:
        """All measurements in their order: the peers next to each other, the repeats far apart."""
        return [
            Step(*step)
            for step in product(range(1, self.repeat + 1), self.aof, self.measures, self.peers)
            if fits(step[2], step[3], load(step[3]))
        ]


class Step(NamedTuple):
    """One measurement of the plan."""

    repeat: int
    aof: Aof
    measure: str
    peer: str

    def __str__(self) -> str:
        return f"{self.measure} {self.peer}, append-only file: {self.aof}"


@dataclass(frozen=True, slots=True)
class Done:
    """A measurement that was made: when (seconds since the epoch), how busy the machine was before it, on which server, what came of it."""

    step: Step
    at: float
    before: dict[str, float]
    server: str
    measured: Measured

    def document(self) -> dict[str, Any]:
        """For the JSON."""
        return self.step._asdict() | {"at": round(self.at, 3), "before": self.before} | asdict(self.measured)


def run(plan: Plan, tell: Callable[[Step, float], None], failed: Callable[[Step, str], None] | None = None) -> Iterator[Done]:
    """Make each measurement of the plan.

    Args:
        tell: is told the step at hand and which part of it is done.
        failed: is told of a step that has failed, and the others go on; without it the first one that fails ends all.

    Raises:
        BenchError: one of them can't be believed.
    """
    for step in plan.steps():
        tell(step, 0.0)

        def told(part: float, step: Step = step) -> None:
            tell(step, part)

        before = machine.busy(_QUICK_LOOK if plan.quick else _LOOK)
        at = time.time()
        try:
            version, measured = _measure(step, plan, told)
        except BenchError as error:
            if failed is None:
                raise
            failed(step, str(error))
        else:
            yield Done(step, at, before, version, measured)


def _measure(step: Step, plan: Plan, tell: Tell) -> tuple[str, Measured]:
    measure = find(step.measure)
    made = load(step.peer)
    # Whoever is killed at last may still write into it.
    with tempfile.TemporaryDirectory(prefix="taskq-bench-", dir=plan.folder, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with Processes(folder) as processes:
            server = Server(folder, step.aof, processes)
            try:
                peer = made(server, processes)
                try:
                    return server.version, measure(peer, plan.size, tell)
                finally:
                    peer.close()
            except (redis.RedisError, TaskqError, RuntimeError) as error:
                raise BenchError(f"{made.title}: {type(error).__name__}: {error}") from error
            finally:
                server.close()
