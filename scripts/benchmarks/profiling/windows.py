"""The two windows of a drain, and what was seen in them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.errors import BenchError
from benchmarks.peers.fleet import Taskq
from benchmarks.processes import Process, Processes, descendants, pause
from benchmarks.profiling.stacks import by_function
from benchmarks.server import Server

_LOOK = 0.02
_RATE = 250
_FEWEST = 0.3
_LATE = 30.0


@dataclass
class Profile:
    """What a no-op run takes.

    Attributes:
        per_second: runs. ``cpu``: process → µs a run. ``commands``: command → calls a run, µs a run.
        functions: process → function → µs a run.
    """

    runs: int
    per_second: float
    cpu: dict[str, float]
    commands: dict[str, tuple[float, float]]
    functions: dict[str, dict[str, float]] = field(default_factory=dict)


def measure(server: Server, processes: Processes, runs: int, pyspy: Path | None) -> Profile:
    """Drain so many no-ops, and look.

    Args:
        pyspy: the profiler; None to go without functions.

    Raises:
        BenchError: a run went wrong, or the profiler does.
    """
    peer = Taskq(server, processes)
    try:
        peer.prepare()
        peer.enqueue("constant", runs)
        worker = peer.worker("worker")
        _until(peer, runs // 8)
        profile = _undisturbed(peer, worker, runs)
        if pyspy is not None:
            _sampled(peer, worker, runs, pyspy, profile)
        peer.wait_until_finished(runs)
        peer.check(runs)
        peer.processes.retire(worker)
        return profile
    finally:
        peer.close()


def _undisturbed(peer: Taskq, worker: Process, runs: int) -> Profile:
    """From an eighth to the half."""
    peer.server.client.config_resetstat()
    named = _processes(peer, worker)
    before, since, done = _cpu(named), time.monotonic(), peer.finished()
    _until(peer, runs // 2)
    after, took, made = _cpu(named), time.monotonic() - since, peer.finished() - done
    if not made:
        raise BenchError("taskq: the drain was over before it could be looked at; give it more --runs")
    stats = peer.server.client.info("commandstats")
    commands = {name.removeprefix("cmdstat_"): (each["calls"] / made, each["usec"] / made) for name, each in stats.items()}
    return Profile(made, made / took, {name: (after[name] - before[name]) / made * 1e6 for name in named}, commands)


def _sampled(peer: Taskq, worker: Process, runs: int, pyspy: Path, profile: Profile) -> None:
    """From the half on, for as long as three eighths should take, at half of the rate."""
    seconds = max(_FEWEST, runs * 3 / 8 / profile.per_second / 2)
    named = {name: process for name, process in _processes(peer, worker).items() if name != "server"}
    started = []
    for name, process in named.items():
        target = peer.server.folder / f"{name}.folded"
        options = ["--pid", str(process.pid), "--rate", str(_RATE), "--duration", str(max(1, round(seconds))), "--format", "raw"]
        argv = [pyspy, "record", *options, "--function", "--full-filenames", "--nonblocking", "--output", target]
        started.append((name, target, peer.processes.start(f"py-spy {name}", argv)))
    for name, target, process in started:
        peer.processes.ended(process, max(1, round(seconds)) + _LATE)
        if not target.exists():
            raise BenchError(f"py-spy could not look at {name}:\n{process.last_words()}")
        samples: Counter[str] = by_function(target.read_text())
        total = sum(samples.values()) or 1
        profile.functions[name] = {function: profile.cpu[name] * count / total for function, count in samples.most_common()}


def _processes(peer: Taskq, worker: Process) -> dict[str, psutil.Process]:
    named = {"server": psutil.Process(peer.server.process.pid), "supervisor": psutil.Process(worker.pid)}
    return named | {f"executor {number}": process for number, process in enumerate(descendants(worker.pid), 1)}


def _cpu(named: dict[str, psutil.Process]) -> dict[str, float]:
    found = dict.fromkeys(named, 0.0)
    for name, process in named.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            found[name] = sum(process.cpu_times()[:2])
    return found


def _until(peer: Taskq, runs: int) -> None:
    while peer.finished() < runs:
        peer.processes.check()
        pause(_LOOK)
