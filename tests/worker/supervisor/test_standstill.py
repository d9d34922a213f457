"""Runs that can't start here, ids whose runs are gone: they keep nobody waiting, and cost little."""

from __future__ import annotations

import time

import pytest
from support.fleet import Fleet
from support.waiting import until

HEAD = "from taskq.registry import task\n@task\n"
GOOD = HEAD + "def good():\n    return 1\n"
BROKEN = "raise RuntimeError('no')\n" + HEAD + "def broken():\n    return 1\n"


def claimed(fleet: Fleet) -> int:
    """How many runs were claimed until now."""
    return int(fleet.redis.get(fleet.keys.fence) or 0)


def quiet(fleet: Fleet, seconds: float = 2.5) -> None:
    """Until nothing was claimed for so long."""
    last, since = claimed(fleet), time.monotonic()

    def is_quiet() -> bool:
        nonlocal last, since
        now = claimed(fleet)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > seconds

    until(is_quiet, 40, "nothing is claimed")


@pytest.mark.parametrize("count", [20, 700])
def test_runs_that_can_not_start_here_are_left_alone_once_all_of_them_were_seen(fleet: Fleet, count: int) -> None:
    fleet.put("good", GOOD)
    fleet.put("broken", BROKEN)
    fleet.start()
    broken = fleet.enqueue("broken", count)
    quiet(fleet)
    assert fleet.redis.llen(fleet.keys.rq_queue("default")) == count

    (run,) = fleet.enqueue("good")
    assert fleet.result(run) == 1
    quiet(fleet)

    # What could start nowhere can start now: nobody waits until the rest is over.
    fleet.put("broken", BROKEN.replace("raise", "#"))
    assert [fleet.result(run) for run in broken] == [1] * count
    assert {fleet.field(run, "attempt") for run in broken} == {"1"}


def test_runs_of_another_release_alone_in_a_queue_are_left_alone(fleet: Fleet) -> None:
    fleet.put("good", GOOD)
    for run in fleet.enqueue("good", 20):
        fleet.redis.hset(fleet.keys.rq_job(run), "taskq", "2")
    fleet.start()
    queue = fleet.keys.rq_queue("default")
    before = fleet.redis.lrange(queue, 0, -1)

    def pops() -> int:
        return int(fleet.redis.info("commandstats").get("cmdstat_lpop", {"calls": 0})["calls"])

    seen, since = pops(), time.monotonic()

    def is_quiet() -> bool:
        nonlocal seen, since
        if pops() != seen:
            seen, since = pops(), time.monotonic()
        return time.monotonic() - since > 2.5

    until(is_quiet, 40, "nothing is looked at")
    assert sorted(fleet.redis.lrange(queue, 0, -1)) == sorted(before)


def test_a_queue_behind_one_of_nothing_but_such_runs_gets_its_turn(fleet: Fleet) -> None:
    fleet.put("broken", BROKEN, queue="urgent")
    fleet.put("good", GOOD, queue="other")
    fleet.enqueue("broken", 600, queue="urgent")
    fleet.start(queues=("urgent", "other"))
    runs = fleet.enqueue("good", 5, queue="other")

    assert [fleet.result(run) for run in runs] == [1] * 5


def test_a_burst_ends_where_nothing_that_is_left_can_start_here(fleet: Fleet) -> None:
    fleet.put("good", GOOD)
    fleet.put("broken", BROKEN)
    runs = fleet.enqueue("broken", 5) + fleet.enqueue("good", 5)
    worker = fleet.start(burst=True, ready=False)

    assert worker.process.wait(30) == 0, worker.text()
    assert [fleet.field(run, "status") for run in runs] == ["queued"] * 5 + ["finished"] * 5


def test_a_burst_does_not_end_at_runs_that_are_gone_or_not_ours_to_read(fleet: Fleet) -> None:
    fleet.put("good", GOOD)
    gone, foreign, runs = fleet.enqueue("good", 2500), fleet.enqueue("good", 300), fleet.enqueue("good", 5)
    fleet.redis.delete(*map(fleet.keys.rq_job, gone))
    for run in foreign:
        fleet.redis.hset(fleet.keys.rq_job(run), "taskq", "2")
    worker = fleet.start(burst=True, ready=False)

    assert worker.process.wait(30) == 0, worker.text()
    assert {fleet.field(run, "status") for run in runs} == {"finished"}
    assert [run.decode() for run in fleet.redis.lrange(fleet.keys.rq_queue("default"), 0, -1)] == foreign


def test_a_worker_that_can_start_nothing_of_what_waits_is_idle(fleet: Fleet) -> None:
    fleet.put("broken", BROKEN)
    fleet.enqueue("broken", 3)
    worker = fleet.start(max_idle=2.0, ready=False)

    assert worker.process.wait(30) == 0, worker.text()


def test_a_run_that_stands_twice_in_its_queue_is_started_once(fleet: Fleet) -> None:
    fleet.put("good", GOOD)
    runs = fleet.enqueue("good", 4)
    fleet.redis.rpush(fleet.keys.rq_queue("default"), *runs)
    fleet.start()

    assert [fleet.result(run) for run in runs] == [1] * 4
    until(lambda: not fleet.redis.llen(fleet.keys.rq_queue("default")), what="the queue is empty")
    assert claimed(fleet) == 4
