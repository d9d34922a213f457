"""Hot swaps: F24, a thousand of them leave nothing behind; F25, runs in flight end on the code that they began on."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from support.executor import DrivenExecutor
from support.fleet import Fleet
from support.waiting import until

from taskq.registry import codec
from taskq.worker.link.protocol import Kind

HEAD = "import asyncio, os, sys, threading, time\nfrom taskq.registry import task, TaskContext\n"
FREE = {"json_schema": {"type": "object"}}
LANES = pytest.mark.parametrize("lane", ["alone", "async", "threads"])


def source(version: int, lane: str, body: str) -> str:
    return f"{HEAD}table = list(range(5000))  # {version}\n@task\n{'async ' * (lane == 'async')}def t(**given):\n    {body}\n"


def measures(process: psutil.Process, modules: int) -> tuple[int, int, int]:
    """What must stay flat: descriptors, threads, modules."""
    return process.num_fds(), process.num_threads(), modules


@LANES
def test_f24_1000_hot_swaps_in_an_executor_leave_memory_descriptors_threads_and_modules_as_they_were(lane: str) -> None:
    executor = DrivenExecutor()
    try:
        process = psutil.Process(executor.pid)
        where = {"async": {"lane": "async", "slots": 4}, "threads": {"lane": "threads t", "slots": 4}}.get(lane, {})
        body = "return [{}, sum(name.startswith('taskq_code_') for name in sys.modules), len(sys.modules)]"
        after: list[tuple[int, tuple[int, int, int]]] = []
        for version in range(1, 1001):
            assert executor.load(source(version, lane, body.format(version)), version=version, **where)["ok"]
            number, ours, modules = codec.loads(executor.run(version=version)["result"])
            assert (number, ours) == (version, 1)
            executor.send(Kind.UNLOAD, task="t", version=version)
            if version in (100, 1000):
                after.append((process.memory_info().rss, measures(process, modules)))
        (early_memory, early), (late_memory, late) = after
        assert late == early
        assert late_memory <= early_memory * 1.1
    finally:
        executor.close()


@pytest.mark.timeout(300)
def test_f24_1000_hot_swaps_leave_a_worker_as_it_was(fleet: Fleet) -> None:
    fleet.put("t", source(0, "alone", "return 0"), parameters=FREE)
    worker = fleet.start(1)
    supervisor, executors = psutil.Process(worker.process.pid), [child.pid for child in worker.executors()]
    after: list[tuple[int, int, int]] = []
    for number in range(1, 1001):
        version = fleet.put("t", source(number, "alone", f"return {number}"), parameters=FREE)
        if number % 10 == 0:
            assert fleet.result(fleet.enqueue("t")[0], 60) == number
        if number in (100, 1000):
            until(lambda version=version: fleet.load_report("w0", "t", version), 60, "it is loaded")
            # Old versions are dropped once nobody has asked for them for a while, and throw-away executors end.
            until(lambda: len(list(fleet.redis.hkeys(fleet.keys.worker("w0")))) < 20, 30, "old versions are dropped")
            until(lambda: len(worker.executors()) == 1, 30, "throw-away executors have ended")
            connections = len(fleet.redis.client_list())  # a pool of them grows when calls first go on beside each other
            after.append((supervisor.memory_info().rss, supervisor.num_fds() - connections, supervisor.num_threads()))
    (early_memory, *early), (late_memory, *late) = after
    assert late == early
    assert late_memory <= early_memory * 1.1
    assert [child.pid for child in worker.executors()] == executors


@LANES
def test_f25_50_runs_of_the_old_version_in_flight_end_on_the_old_code_when_it_is_swapped(fleet: Fleet, tmp_path: Path, lane: str) -> None:
    more = {"async": {"coroutine": True}, "threads": {"threads": 50}}.get(lane, {})
    executors = 50 if lane == "alone" else 1
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    body = "os.write(os.open({!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), b'.')\n    while not os.path.exists({!r}): {}\n    return {}"
    nap = "await asyncio.sleep(0.02)" if lane == "async" else "time.sleep(0.02)"
    fleet.put("t", source(1, lane, body.format(str(begun), str(gate), nap, 1)), parameters=FREE, **more)
    fleet.start(executors)
    old = fleet.enqueue("t", 50)
    until(lambda: begun.exists() and len(begun.read_text()) == 50, 60, "50 are in flight")
    version = fleet.put("t", source(2, lane, "return 2"), parameters=FREE, **more)
    until(lambda: (report := fleet.load_report("w0", "t", version)) and report.state == "ready", 30, "the new version is ready")
    new = fleet.enqueue("t", 10)
    if lane == "async":  # the others find no executor, or no slot of their task, until one is free
        assert {fleet.result(run) for run in new} == {2}
    gate.touch()
    assert {fleet.result(run, 30) for run in old} == {1}
    assert {fleet.result(run, 30) for run in new} == {2}
    assert all(fleet.attempts(run) == [] for run in (*old, *new))
