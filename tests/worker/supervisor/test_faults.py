"""What must happen when things break: F1 to F4, F9, F11, F17, F20; see `test_delivery` for more of F1, and F5."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import redis as redis_py
from support.fleet import Fleet
from support.tasks import FREE, HEAD, STUBBORN, gone, started
from support.waiting import until

from taskq.registry.connect import connect
from taskq.registry.errors import InvalidInput, ServerUnreachable
from taskq.registry.settings import Settings
from taskq.worker import FleetWorker

LEDGER = (
    HEAD
    + "@task\ndef ledger(ctx: TaskContext, path: str, seconds: float):\n"
    + "    with open(path, 'a') as out: out.write(f'start {ctx.run}\\n')\n"
    + "    time.sleep(seconds)\n"
    + "    with open(path, 'a') as out: out.write(f'end {ctx.run}\\n')\n"
    + "    return os.getpid()\n"
)
WITH_CONTEXT = {"parameters": {"json_schema": {"type": "object"}, "context": "ctx"}}


def lines(path: Path) -> Counter[str]:
    return Counter(path.read_text().split("\n")[:-1]) if path.exists() else Counter()


def test_a_killed_executor_costs_one_attempt_of_the_run_in_it(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("ledger", LEDGER, **WITH_CONTEXT)
    worker = fleet.start(2)
    path = tmp_path / "ledger"
    first, second = fleet.enqueue("ledger", 2, path=str(path), seconds=1.0)
    until(lambda: sum(lines(path).values()) == 2, what="both runs started")
    victim = worker.executors()[0]
    victim.kill()

    pids = {fleet.result(first), fleet.result(second)}
    assert victim.pid not in pids
    attempts = [attempt for run in (first, second) for attempt in fleet.attempts(run)]
    assert [(attempt["outcome"], attempt["error"]) for attempt in attempts] == [("executor_died", "signal 9 (SIGKILL)")]
    assert attempts[0]["started_at"] <= attempts[0]["ended_at"]
    assert sorted(fleet.field(run, "attempt") for run in (first, second)) == ["1", "2"]
    until(lambda: len(worker.executors()) == 2, 1.0, "the executor is replaced")


@pytest.mark.parametrize("how", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGSEGV)", "ctypes.string_at(0)"])
def test_f17_the_third_crash_of_a_run_is_poison(fleet: Fleet, how: str) -> None:
    fleet.put("crash", HEAD + f"@task\ndef crash():\n    {how}\n")
    fleet.put("fine", HEAD + "@task\ndef fine():\n    return 1\n")
    worker = fleet.start(1)
    (run,) = fleet.enqueue("crash")

    reason, error = fleet.failure(run)
    assert reason == "poison"
    assert "exit code 3" in error or "SIGSEGV" in error
    assert [attempt["outcome"] for attempt in fleet.attempts(run)] == ["executor_died", "executor_died"]
    assert worker.process.poll() is None
    assert fleet.result(fleet.enqueue("fine")[0]) == 1


def test_f1_a_killed_worker_loses_none_of_its_eight_runs(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("ledger", LEDGER, **WITH_CONTEXT)
    doomed = fleet.start(8)
    path = tmp_path / "ledger"
    runs = fleet.enqueue("ledger", 8, path=str(path), seconds=2.0)
    until(lambda: sum(lines(path).values()) == 8, what="all started")
    until(lambda: all(fleet.field(run, "version") for run in runs), what="versions are noted")
    executors = doomed.executors()
    doomed.kill()
    began = time.monotonic()
    fleet.start(8)

    for run in runs:
        assert fleet.result(run, 15) is not None
    assert time.monotonic() - began < 10
    assert not psutil.wait_procs(executors, timeout=3)[1]
    for run in runs:
        assert lines(path)[f"start {run}"] == 2
        assert lines(path)[f"end {run}"] == 1
        (attempt,) = fleet.attempts(run)
        assert (attempt["outcome"], attempt["worker"], attempt["version"]) == ("worker_lost", "w0", 1)
        assert fleet.redis.xlen(fleet.keys.rq_results(run)) == 1


def test_a_worker_of_the_same_name_takes_over_at_once(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("ledger", LEDGER, **WITH_CONTEXT)
    doomed = fleet.start(1, name="twin")
    (run,) = fleet.enqueue("ledger", path=str(tmp_path / "ledger"), seconds=0.5)
    fleet.running()
    doomed.kill()
    fleet.start(1, name="twin")

    fleet.result(run)
    assert [attempt["outcome"] for attempt in fleet.attempts(run)] == ["worker_lost"]


def test_a_second_worker_of_a_live_name_is_refused(fleet: Fleet) -> None:
    fleet.start(1, name="twin")
    second = fleet.start(1, name="twin", ready=False)

    until(lambda: second.process.poll() is not None, what="it ended")
    assert second.process.returncode != 0
    assert "is alive" in second.text()
    assert fleet.report("twin") is not None


def test_a_late_run_is_interrupted_with_reason_timeout(fleet: Fleet) -> None:
    fleet.put("nap", HEAD + "@task\ndef nap():\n    time.sleep(60)\n", timeout=0.5, grace=2.0)
    worker = fleet.start(1)
    before = {child.pid for child in worker.executors()}
    (run,) = fleet.enqueue("nap")

    assert fleet.failure(run, 4)[0] == "timeout"
    assert {child.pid for child in worker.executors()} == before


def test_what_swallows_its_timeout_is_killed_with_all_its_descendants(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    fleet.put("stubborn", STUBBORN, timeout=0.5, grace=1.0, **FREE)
    fleet.start(1)
    (run,) = fleet.enqueue("stubborn", path=str(path))
    started(path, 2)
    began = time.monotonic()

    assert fleet.failure(run, 5)[0] == "timeout"
    assert time.monotonic() - began < 3.5
    pid = int(path.read_text())
    until(lambda: gone(pid), 2, "the grandchild is gone")


def test_a_grandchild_of_a_crashed_executor_is_ended(fleet: Fleet, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    source = HEAD + (
        "@task\ndef litter(path: str):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'], start_new_session=True)\n"
        "    open(path, 'w').write(str(child.pid))\n"
        "    os._exit(1)\n"
    )
    fleet.put("litter", source, on_lost="fail", **FREE)
    fleet.start(1)
    (run,) = fleet.enqueue("litter", path=str(path))

    assert fleet.failure(run) == ("lost", "executor_died: exit code 1")
    pid = int(path.read_text())
    until(lambda: not psutil.pid_exists(pid), 3, "the grandchild is gone and reaped")


def test_redis_killed_under_load_costs_no_run_and_no_process(own_server: object, settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"redis_url": own_server.url})  # type: ignore[attr-defined]  # the fixture's class is in conftest
    with connect(own) as client:
        fleet = Fleet(own, client, tmp_path)
        try:
            _killed_under_load(fleet, client, own_server, tmp_path / "ledger")
        finally:
            fleet.stop()


def _killed_under_load(fleet: Fleet, client: redis_py.Redis, server: object, path: Path) -> None:
    fleet.put("ledger", LEDGER, **WITH_CONTEXT)
    worker = fleet.start(4)
    executors = {child.pid for child in worker.executors()}
    runs = fleet.enqueue("ledger", 60, path=str(path), seconds=0.05)
    until(lambda: sum(lines(path).values()) > 20, what="it is under way")
    server.kill()  # type: ignore[attr-defined]  # see above
    until(lambda: "Redis is away" in worker.text(), what="the worker noticed")
    server.start()  # type: ignore[attr-defined]  # see above
    began = time.monotonic()
    for run in runs:
        fleet.result(run, 20)
    assert time.monotonic() - began < 12
    assert worker.process.poll() is None
    assert {child.pid for child in worker.executors()} == executors
    for run in runs:
        assert client.xlen(fleet.keys.rq_results(run)) == 1
    assert max(lines(path).values()) <= 2
    assert client.zcard(fleet.keys.leases) == 0


def test_events_tell_the_outcome_of_a_run(fleet: Fleet) -> None:
    fleet.put("fine", HEAD + "@task\ndef fine():\n    return 1\n")
    fleet.start(1)
    (run,) = fleet.enqueue("fine")
    fleet.result(run)

    ((_, entry),) = fleet.redis.xrange(fleet.keys.events)
    event = json.loads(entry[b"event"])
    assert (event["type"], event["subject"], event["data"]["run"]) == ("taskq.run.succeeded", "fine", run)


def test_a_worker_without_a_server_says_so(settings: Settings, tmp_path: Path) -> None:
    absent = settings.model_copy(update={"redis_url": f"unix://{tmp_path}/none.sock"})
    with pytest.raises(ServerUnreachable):
        FleetWorker(settings=absent, executors=1).work()


@pytest.mark.parametrize("wrong", [{"queues": ("a:b",)}, {"queues": ()}, {"name": "../x"}, {"executors": 0}])
def test_a_worker_is_not_made_from_what_is_not_allowed(settings: Settings, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        FleetWorker(settings=settings, **wrong)  # type: ignore[arg-type]  # that is what is tested
