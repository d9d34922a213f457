"""How a worker ends: drain from afar, signals, graces, and what tells containers how it is (F3, F4)."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from support.command import Command
from support.fleet import Fleet
from support.tasks import FREE, HEAD, LEAVES, NAP, STUBBORN, gone, started
from support.waiting import until

from taskq.registry.changes.draining import await_drain, request_drain
from taskq.registry.effects import run_sync
from taskq.registry.errors import InvalidInput, NotFound, WaitTimeout
from taskq.registry.runtime.health import ailment
from taskq.worker import FleetWorker


@pytest.mark.parametrize("pubsub", ["on", "off"], ids=["by message", "f12 the message is lost"])
def test_a_worker_is_drained_from_afar_and_finishes_what_it_runs(fleet: Fleet, tmp_path: Path, pubsub: str) -> None:
    fleet.put("nap", NAP, **FREE)
    worker = fleet.start(1, TASKQ_PUBSUB=pubsub)
    path = tmp_path / "ledger"
    first, second = fleet.enqueue("nap", 2, seconds=1.5, path=str(path))
    started(path)
    report = run_sync(request_drain(fleet.keys, fleet.settings, "w0"), fleet.redis)

    assert run_sync(await_drain(fleet.keys, report, 5.0, ended=False), fleet.redis) == "draining"
    assert run_sync(await_drain(fleet.keys, report, 10.0, ended=True), fleet.redis) == "gone"
    assert worker.process.wait(5) == 0
    assert (fleet.field(first, "status"), fleet.field(second, "status")) == ("finished", "queued")
    assert not fleet.redis.exists(fleet.keys.asked("w0"))


def test_a_later_worker_of_the_name_is_not_meant_by_an_earlier_request(fleet: Fleet) -> None:
    fleet.start(1)
    report = run_sync(request_drain(fleet.keys, fleet.settings, "w0"), fleet.redis)
    run_sync(await_drain(fleet.keys, report, 10.0, ended=True), fleet.redis)
    fleet.redis.hset(fleet.keys.asked("w0"), "drain", f"{report.started_at:.6f}")
    second = fleet.start(1, name="w0")
    beat = fleet.report("w0").heartbeat
    until(lambda: fleet.report("w0").heartbeat > beat, 5, "another heartbeat")
    assert second.process.poll() is None


def test_a_worker_that_is_not_there_can_not_be_drained(fleet: Fleet) -> None:
    with pytest.raises(NotFound, match="there is no worker nobody"):
        run_sync(request_drain(fleet.keys, fleet.settings, "nobody"), fleet.redis)
    worker = fleet.start(1)
    worker.kill()
    with pytest.raises(NotFound, match="worker w0 is gone"):
        until(lambda: run_sync(request_drain(fleet.keys, fleet.settings, "w0"), fleet.redis) is None, 10)


def test_a_worker_that_hangs_has_not_confirmed(fleet: Fleet) -> None:
    worker = fleet.start(1)
    worker.process.send_signal(signal.SIGSTOP)
    report = run_sync(request_drain(fleet.keys, fleet.settings, "w0"), fleet.redis)
    with pytest.raises(WaitTimeout, match="w0 has not confirmed"):
        run_sync(await_drain(fleet.keys, report, 0.3, ended=True), fleet.redis)
    worker.process.send_signal(signal.SIGCONT)
    assert worker.process.wait(10) == 0


def test_the_command_drains_and_says_what_came_of_it(fleet: Fleet, tmp_path: Path) -> None:
    taskq = Command(fleet.settings, tmp_path)
    worker = fleet.start(1)
    assert "has ended" in taskq("drain", "w0").stderr
    assert worker.process.wait(5) == 0
    assert "there is no worker w0" in taskq("drain", "w0", code=3).stderr


def test_f3_sigterm_lets_runs_finish_and_hands_back_the_rest_at_once(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("nap", NAP, **FREE)
    worker = fleet.start(2)
    path = tmp_path / "ledger"
    runs = fleet.enqueue("nap", 4, seconds=2.0, path=str(path))
    started(path, 2)
    worker.terminate()
    until(lambda: "drains" in worker.text(), what="it drains")
    until(lambda: Counter(fleet.field(run, "status") for run in runs) == {"started": 2, "queued": 2}, 1.5, "the rest is handed back")
    late = fleet.enqueue("nap")

    assert worker.process.wait(8) == 0, worker.text()
    assert Counter(fleet.field(run, "status") for run in runs + late) == {"finished": 2, "queued": 3}
    assert all(fleet.field(run, "attempt") in ("", "0") for run in runs + late if fleet.field(run, "status") == "queued")
    assert path.read_text() == "xx"
    assert fleet.redis.zcard(fleet.keys.leases) == 0
    assert fleet.report("w0") is None


@pytest.mark.parametrize("how", ["second signal", "grace"])
def test_f4_what_does_not_end_in_time_is_killed_with_all_its_descendants_and_released(fleet: Fleet, tmp_path: Path, how: str) -> None:
    fleet.put("stubborn", STUBBORN, grace=60.0, **FREE)
    worker = fleet.start(1, options={"grace": 1.0 if how == "grace" else 60.0})
    path = tmp_path / "pid"
    (run,) = fleet.enqueue("stubborn", path=str(path))
    started(path, 2)
    executors = worker.executors()
    worker.terminate()
    until(lambda: "drains" in worker.text(), what="it drains")
    if how == "second signal":
        worker.terminate()
    began = time.monotonic()

    assert worker.process.wait(10) == 0, worker.text()
    assert time.monotonic() - began < (3.0 if how == "grace" else 2.0) + 2.0
    assert (fleet.field(run, "status"), fleet.field(run, "attempt")) == ("queued", "0")
    assert [attempt["outcome"] for attempt in fleet.attempts(run)] == ["released"]
    until(lambda: all(gone(process.pid) for process in executors), 2, "the executors are gone")
    until(lambda: gone(int(path.read_text())), 2, "the grandchild is gone")


def test_f19_all_descendants_are_gone_after_the_stop_setsid_or_not(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    source = HEAD + (
        "@task\ndef swarm(path: str):\n"
        "    code = 'import os, sys, time\\nfor _ in range(3):\\n    if os.fork() == 0:\\n        os.setsid()\\n"
        'open(sys.argv[1], "a").write(str(os.getpid()) + "\\\\n")\\ntime.sleep(99)\'\n'
        "    for _ in range(3):\n        subprocess.Popen([sys.executable, '-c', code, path], start_new_session=True)\n"
        "    time.sleep(99)\n"
    )
    fleet.put("swarm", source, timeout=2.5, grace=1.0, **FREE)
    fleet.start(1)
    (run,) = fleet.enqueue("swarm", path=str(path))
    until(lambda: path.exists() and len(path.read_text().split()) == 24, 10, "the swarm is there")

    assert fleet.failure(run, 8)[0] == "timeout"
    until(lambda: all(gone(int(pid)) for pid in path.read_text().split()), 2, "all of it is gone")


def test_the_health_file_is_there_while_runs_are_taken(fleet: Fleet, tmp_path: Path) -> None:
    health = tmp_path / "health"
    fleet.put("nap", NAP, **FREE)
    worker = fleet.start(1, options={"health_file": str(health)})
    until(lambda: ailment(health, 3.0) is None, 5, "it is well")
    first = json.loads(health.read_text())
    assert (first["worker"], first["state"], first["pid"]) == ("w0", "idle", worker.process.pid)
    until(lambda: json.loads(health.read_text())["monotonic"] > first["monotonic"], 5, "it is written again")
    # A worker that hangs is not well
    worker.process.send_signal(signal.SIGSTOP)
    until(lambda: "s old" in (ailment(health, 1.0) or ""), 5, "it is too old")
    worker.process.send_signal(signal.SIGCONT)
    until(lambda: ailment(health, 1.0) is None, 5, "it is well again")
    # Nor is one that takes no more runs
    path = tmp_path / "ledger"
    fleet.enqueue("nap", seconds=2.0, path=str(path))
    started(path)
    worker.terminate()
    until(lambda: not health.exists(), 1.5, "it is not ready any more")
    assert worker.process.wait(8) == 0
    assert list(tmp_path.glob(".health*")) == []


def test_the_probe_of_health_is_a_flag_of_the_worker(fleet: Fleet, tmp_path: Path) -> None:
    taskq = Command(fleet.settings, tmp_path)
    health = tmp_path / "health"
    assert "not ready" in taskq("worker", "--check-health", str(health), code=1).stderr
    with subprocess.Popen(taskq.argv("worker", "--executors", "1", "--health-file", str(health)), env=taskq.environ, stderr=-3) as worker:
        until(health.exists, 20)
        taskq("worker", "--check-health", str(health))
        assert "s old" in taskq("worker", "--check-health", str(health), "--max-age", "0", code=1).stderr
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0
    health.write_text("garbage")
    assert "can't be read" in taskq("worker", "--check-health", str(health), code=1).stderr


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"executors": (3, 2)}, "3:2"),
        ({"executors": (0, 2)}, "at least 1, not 0"),
        ({"strategy": "fastest"}, "ordered, round_robin, random"),
        ({"grace": -1.0}, "grace must be at least 0"),
        ({"recycle_after": 0}, "recycle_after must be at least 1"),
        ({"health_file": "/nowhere/health"}, "/nowhere"),
    ],
)
def test_options_that_can_not_be_are_refused_with_the_name_and_what_may_be(fleet: Fleet, wrong: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        FleetWorker(settings=fleet.settings, **{"executors": 1, **wrong})  # type: ignore[arg-type]  # that is what is tested


def test_f1_what_runs_of_a_killed_worker_had_started_is_ended_by_the_next_one_and_nothing_else(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("leaves", LEAVES, on_lost="fail", **FREE)
    doomed, healthy = fleet.start(1), fleet.start(1)
    paths = [tmp_path / "first", tmp_path / "second"]
    runs = [fleet.enqueue("leaves", path=str(path))[0] for path in paths]
    for path in paths:
        started(path, 2)
    of = {fleet.field(run, "worker_name"): int(path.read_text()) for run, path in zip(runs, paths, strict=True)}
    doomed.kill()
    # The other worker takes over its run, and ends what the run had started; its own goes on
    until(lambda: gone(of["w0"]), 20, f"it is ended\n{fleet.texts()}")
    assert not gone(of["w1"])
    # So does a worker that starts: any of this machine, so one of another test may be the first
    healthy.kill()
    fleet.start(1)
    until(lambda: gone(of["w1"]), 5, f"it is ended\n{fleet.texts()}")
