"""How many executors a worker has, when they are replaced, from which queues it takes runs, and when it ends by itself."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from support.fleet import Fleet, Worker
from support.tasks import FREE
from support.waiting import until

from taskq.registry.settings import Settings
from taskq.worker.pool.pool import Pool
from taskq.worker.supervisor.order import Order, check_strategy

HEAD = "import os, sys, time\nfrom taskq.registry import task, TaskContext\n"
WHO = HEAD + "@task\ndef who(seconds: float = 0.0):\n    time.sleep(seconds)\n    return os.getpid()\n"
NOTE = HEAD + "@task\ndef note(path: str, text: str = 'x'):\n    open(path, 'a').write(text)\n"


def pids(worker: Worker) -> set[int]:
    return {child.pid for child in worker.executors()}


# -- scaling -------------------------------------------------------------------------------------------------
def test_executors_come_with_the_backlog_and_go_when_they_are_idle(fleet: Fleet) -> None:
    fleet.put("who", WHO, **FREE)
    worker = fleet.start((1, 3), TASKQ_EXECUTOR_IDLE="2")
    assert fleet.report("w0").executors == 1
    runs = fleet.enqueue("who", 12, seconds=1.0)
    until(lambda: len(pids(worker)) == 3, 15, f"three executors\n{worker.text()}")
    until(lambda: fleet.report("w0").executors == 3, 5, "it is reported")

    assert len({fleet.result(run, 20) for run in runs}) > 1
    until(lambda: len(pids(worker)) == 1, 20, f"one executor\n{worker.text()}")
    until(lambda: fleet.report("w0").executors == 1, 5, "it is reported")
    assert {fleet.field(run, "attempt") for run in runs} == {"1"}
    assert all(fleet.attempts(run) == [] for run in runs)


def test_a_backlog_of_nothing_starts_no_executor(fleet: Fleet) -> None:
    fleet.put("who", WHO, **FREE)
    worker = fleet.start((1, 3))
    for run in fleet.enqueue("who", 1, seconds=2.5):
        fleet.result(run)
    assert len(pids(worker)) == 1
    assert "is started" not in worker.text()


# -- what is not started to its end ---------------------------------------------------------------------------
def test_an_executor_whose_start_is_broken_off_leaves_no_process_and_no_descriptor(settings: Settings) -> None:
    this = psutil.Process()

    async def scenario() -> bool:
        pool = Pool(settings, 1)
        before = this.num_fds(), set(this.children())
        with pytest.raises(asyncio.CancelledError):
            spawning = asyncio.ensure_future(pool.spawn(pool))
            asyncio.get_running_loop().call_soon(spawning.cancel)
            await spawning
        return (this.num_fds(), set(this.children())) == before

    assert asyncio.run(scenario())


# -- recycling -----------------------------------------------------------------------------------------------
def test_an_executor_is_replaced_after_so_many_runs_and_none_is_lost(fleet: Fleet) -> None:
    fleet.put("who", WHO, **FREE)
    worker = fleet.start(1, options={"recycle_after": 20})
    runs = fleet.enqueue("who", 200, seconds=0.005)
    used = Counter(fleet.result(run, 30) for run in runs)

    assert len(used) >= 3, used
    assert {fleet.field(run, "attempt") for run in runs} == {"1"}
    assert all(fleet.attempts(run) == [] for run in runs)
    until(lambda: len(pids(worker)) == 1, 5, "the old ones are gone")
    assert "ended by" not in worker.text()


def test_a_worn_executor_finishes_its_run_while_the_fresh_one_works(fleet: Fleet) -> None:
    fleet.put("who", WHO, **FREE)
    worker = fleet.start(1, options={"recycle_after": 1})
    old = fleet.result(fleet.enqueue("who")[0])
    until(lambda: pids(worker) and old not in pids(worker), 10, "the first one is gone")
    (long,) = fleet.enqueue("who", seconds=3.0)
    until(lambda: fleet.field(long, "status") == "started", what="it started")
    assert fleet.result(long) not in (old, None)


def test_an_executor_that_holds_too_much_memory_is_replaced(fleet: Fleet) -> None:
    source = HEAD + "HELD = []\n@task\ndef hold(size: int):\n    HELD.append(bytearray(size))\n    return os.getpid()\n"
    fleet.put("hold", source, **FREE)
    worker = fleet.start(1, options={"recycle_memory": 120 * 2**20})
    (small,) = pids(worker)
    assert fleet.result(fleet.enqueue("hold", size=1000)[0]) == small
    assert fleet.result(fleet.enqueue("hold", size=150 * 2**20)[0]) == small
    until(lambda: pids(worker) and small not in pids(worker), 10, f"it is replaced\n{worker.text()}")
    assert "MiB" in worker.text()
    assert fleet.result(fleet.enqueue("hold", size=1000)[0]) in pids(worker)


# -- queues --------------------------------------------------------------------------------------------------
def test_strategies_order_the_queues() -> None:
    queues = ("a", "b", "c")
    assert [Order(queues).next() for _ in range(2)] == [queues, queues]
    turns = Order(queues, "round_robin")
    assert [turns.next()[0] for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]
    random.seed(1)
    shuffled = Order(queues, "random")
    assert {shuffled.next()[0] for _ in range(60)} == set(queues)
    assert check_strategy("default") == "ordered"


@pytest.mark.parametrize(("strategy", "fair"), [("ordered", False), ("round_robin", True), ("random", True)])
def test_a_queue_that_is_never_empty_keeps_others_waiting_only_if_queues_are_ordered(
    fleet: Fleet, tmp_path: Path, strategy: str, fair: bool
) -> None:
    path = tmp_path / "order"
    fleet.put("note", NOTE + "    time.sleep(0.05)\n", queue="first", **FREE)
    fleet.enqueue("note", 20, queue="first", path=str(path), text="1")
    fleet.enqueue("note", 20, queue="second", path=str(path), text="2")
    worker = fleet.start(1, queues=("first", "second"), burst=True, ready=False, options={"strategy": strategy})
    assert worker.process.wait(30) == 0, worker.text()

    order = path.read_text()
    assert Counter(order) == {"1": 20, "2": 20}
    assert ("2" in order[:20]) is fair


# -- its own end ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1, 7, 40])
def test_a_worker_ends_after_exactly_so_many_runs(fleet: Fleet, tmp_path: Path, count: int) -> None:
    fleet.put("note", NOTE, **FREE)
    path = tmp_path / "ledger"
    runs = fleet.enqueue("note", count + 30, path=str(path))
    worker = fleet.start(2, max_jobs=count, ready=False)

    assert worker.process.wait(30) == 0, worker.text()
    assert len(path.read_text()) == count
    assert Counter(fleet.field(run, "status") for run in runs) == {"finished": count, "queued": 30}
    assert fleet.redis.llen(fleet.keys.rq_queue("default")) == 30


def test_runs_that_are_given_back_unbegun_do_not_count(fleet: Fleet, tmp_path: Path) -> None:
    # Given runs behind a slow one: they are claimed as if they were short, and given back
    fleet.put("note", NOTE, **FREE)
    fleet.put("who", WHO, **FREE)
    path = tmp_path / "ledger"
    fleet.enqueue("note", 30, path=str(path))
    slow = fleet.enqueue("note", 1, path=str(path)) + fleet.enqueue("who", 2, seconds=1.0)
    fleet.enqueue("note", 30, path=str(path))
    worker = fleet.start(1, max_jobs=50, ready=False)

    assert worker.process.wait(30) == 0, worker.text()
    assert len(path.read_text()) + sum(fleet.field(run, "status") == "finished" for run in slow[1:]) == 50


def test_a_burst_ends_only_once_all_that_it_holds_has_ended(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("note", NOTE + "    time.sleep(1.5)\n", **FREE)
    path = tmp_path / "ledger"
    runs = fleet.enqueue("note", 3, path=str(path))
    worker = fleet.start(2, burst=True, ready=False)

    assert worker.process.wait(30) == 0
    assert {fleet.field(run, "status") for run in runs} == {"finished"}


@pytest.mark.parametrize("queues", [("default",), ("default", "other")])
def test_a_worker_ends_when_it_was_idle_for_so_long(fleet: Fleet, tmp_path: Path, queues: tuple[str, ...]) -> None:
    fleet.put("note", NOTE + "    time.sleep(2.5)\n", **FREE)
    worker = fleet.start(1, queues=queues, max_idle=1.5)
    path = tmp_path / "ledger"
    (run,) = fleet.enqueue("note", path=str(path))
    until(path.exists, what="it started")
    began = time.monotonic()

    assert worker.process.wait(20) == 0, worker.text()
    assert fleet.field(run, "status") == "finished"
    assert time.monotonic() - began >= 3.9, "a run in progress is no idleness"
