"""What a worker notices of the world: clocks that are wrong (F8), and a Redis that was killed (F9) or has lost its state (F10)."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
from support.command import Command
from support.fleet import Fleet
from support.waiting import until

from taskq import Client
from taskq.registry.connect import connect
from taskq.registry.settings import Settings

HEAD = "import os, sys, time\nfrom taskq.registry import task, TaskContext\n"
LEDGER = HEAD + (
    "@task\ndef ledger(ctx: TaskContext, path: str, seconds: float):\n"
    "    with open(path, 'a') as out: out.write(f'start {ctx.run}\\n')\n"
    "    time.sleep(seconds)\n"
    "    with open(path, 'a') as out: out.write(f'end {ctx.run}\\n')\n"
    "    return os.getpid()\n"
)
WITH_CONTEXT = {"parameters": {"json_schema": {"type": "object"}, "context": "ctx"}}
WRONG = "import time\nfrom taskq.registry import clock\nclock.source.wall = lambda: time.time() + ({skew})\n"


@pytest.fixture
def own_fleet(own_server: object, settings: Settings, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on a server of its own."""
    own = settings.model_copy(update={"redis_url": own_server.url})  # type: ignore[attr-defined]  # the fixture's class is in conftest
    with connect(own) as client:
        made = Fleet(own, client, tmp_path)
        try:
            yield made
        finally:
            made.stop()


def lines(path: Path) -> Counter[str]:
    return Counter(path.read_text().split("\n")[:-1]) if path.exists() else Counter()


@pytest.mark.parametrize("skew", [7200, -1800], ids=["2 h ahead", "30 min behind"])
def test_f8_a_wrong_clock_of_a_host_decides_nothing_and_is_warned_of(fleet: Fleet, tmp_path: Path, skew: int) -> None:
    # Given a run on a worker whose clock is right, one on a worker whose clock is wrong, and one that is due in an hour
    fleet.put("ledger", LEDGER, **WITH_CONTEXT)
    path = tmp_path / "ledger"
    fleet.start(1)
    (first,) = fleet.enqueue("ledger", path=str(path), seconds=8.0)
    until(lambda: lines(path)[f"start {first}"], what="the first one started")
    wrong = fleet.start(1, prelude=WRONG.format(skew=skew))
    (second,) = fleet.enqueue("ledger", path=str(path), seconds=5.0)
    with Client(settings=fleet.settings) as client:
        later = client.options(in_="1h").enqueue("ledger", path=str(path), seconds=0.0)
        # When both have swept more often than it takes to see a lease expired
        assert fleet.result(second) is not None
        assert fleet.result(first) is not None
        # Then nobody has taken over anything, and nothing has started early
        assert later.refresh().status == "scheduled"
    assert set(lines(path).values()) == {1}
    assert fleet.attempts(first) == fleet.attempts(second) == []
    # And it is said
    assert "clock is" in wrong.text()
    assert fleet.report("w1").skew == pytest.approx(-skew, abs=5)
    assert abs(fleet.report("w0").skew) < 1
    detail = next(check for check in Command(fleet.settings, tmp_path).json("doctor", code=None)["checks"] if check["name"] == "clock")
    assert not detail["ok"]
    assert "w1" in detail["detail"]


@pytest.mark.timeout(120)
def test_f9_a_killed_redis_loses_no_run_and_what_ran_is_recorded_once_it_is_back(
    own_fleet: Fleet, own_server: object, tmp_path: Path
) -> None:
    fleet, path = own_fleet, tmp_path / "ledger"
    fleet.put("ledger", LEDGER, **WITH_CONTEXT)
    worker = fleet.start(2)
    executors = {child.pid for child in worker.executors()}
    running = fleet.enqueue("ledger", 2, path=str(path), seconds=2.0)
    until(lambda: sum(lines(path).values()) == 2, what="both started")
    waiting = fleet.enqueue("ledger", 40, path=str(path), seconds=0.01)
    own_server.kill()  # type: ignore[attr-defined]  # see above
    until(lambda: "Redis is away" in worker.text(), what="the worker noticed")
    until(lambda: all(lines(path)[f"end {run}"] for run in running), what="what ran has ended meanwhile")
    own_server.start()  # type: ignore[attr-defined]  # see above

    for run in running + waiting:
        assert fleet.result(run, 20) in executors
        assert fleet.redis.xlen(fleet.keys.rq_results(run)) == 1
    assert set(lines(path).values()) == {1}
    assert worker.process.poll() is None
    assert fleet.report("w0").state_lost is None
    assert fleet.redis.zcard(fleet.keys.leases) == 0


@pytest.mark.timeout(120)
def test_f10_a_redis_that_comes_back_empty_is_reported_and_what_runs_goes_on(own_fleet: Fleet, own_server: object, tmp_path: Path) -> None:
    fleet, path = own_fleet, tmp_path / "ledger"
    fleet.put("ledger", LEDGER, **WITH_CONTEXT)
    workers = [fleet.start(1), fleet.start(1)]
    executors = [{child.pid for child in worker.executors()} for worker in workers]
    runs = fleet.enqueue("ledger", 2, path=str(path), seconds=6.0)
    until(lambda: sum(lines(path).values()) == 2, what="both started")
    own_server.kill()  # type: ignore[attr-defined]  # see above
    for file in own_server.folder.iterdir():  # type: ignore[attr-defined]  # see above
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    own_server.start()  # type: ignore[attr-defined]  # see above

    # They register themselves again, say what has happened, and serve what is registered from now on
    for worker in workers:
        until(lambda name=worker.name: fleet.report(name) and fleet.report(name).state_lost, 10, f"it is reported\n{fleet.texts()}")
        assert "Redis has lost its state" in worker.text()
    fleet.put("fresh", HEAD + "@task\ndef fresh():\n    return 7\n")
    # What was in progress runs to its end, and its outcome is dropped with a line
    until(lambda: all(lines(path)[f"end {run}"] == 1 for run in runs), 15, f"they have ended\n{fleet.texts()}")
    for run in runs:
        until(lambda run=run: f"outcome of run {run} is dropped" in fleet.texts(), 5, f"it is said\n{fleet.texts()}")
        assert not fleet.redis.exists(fleet.keys.rq_job(run))
    assert fleet.result(fleet.enqueue("fresh")[0]) == 7
    for worker, before in zip(workers, executors, strict=True):
        assert worker.process.poll() is None
        assert before <= {child.pid for child in worker.executors()}  # beside them perhaps one that tries a version


def test_f10_a_lease_that_is_gone_while_the_state_is_there_still_ends_the_run(fleet: Fleet, redis: redis_py.Redis, tmp_path: Path) -> None:
    fleet.put("ledger", LEDGER, **WITH_CONTEXT)
    worker = fleet.start(1)
    path = tmp_path / "ledger"
    (run,) = fleet.enqueue("ledger", path=str(path), seconds=30)
    until(lambda: lines(path)[f"start {run}"], what="it started")
    redis.zrem(fleet.keys.leases, run)
    redis.hdel(fleet.keys.lease, run)

    until(lambda: "was taken over" in worker.text(), 10, "it is not ours any more")
    assert fleet.report("w0").state_lost is None
    assert f"end {run}" not in lines(path)
