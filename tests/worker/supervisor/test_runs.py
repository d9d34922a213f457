"""Runs from their queue to their outcome, by real worker processes."""

from __future__ import annotations

from support.fleet import Fleet
from support.waiting import until

HEAD = "import os, sys, time, signal\nfrom taskq.registry import task, TaskContext\n"
NUMBER = {"parameters": {"json_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}}}


def test_a_run_ends_with_its_result_and_leaves_no_lease(fleet: Fleet) -> None:
    fleet.put("double", HEAD + "@task\ndef double(n: int = 1):\n    return 2 * n\n", **NUMBER)
    fleet.start()
    (run,) = fleet.enqueue("double", n=21)

    assert fleet.result(run) == 42
    assert fleet.field(run, "version") == "1"
    assert fleet.field(run, "attempt") == "1"
    assert fleet.redis.zcard(fleet.keys.leases) == 0
    assert fleet.redis.hlen(fleet.keys.lease) == 0
    assert fleet.redis.zcard(fleet.keys.rq_registry("wip", "default")) == 0
    assert fleet.redis.zcard(fleet.keys.rq_registry("finished", "default")) == 1


def test_a_run_that_raises_fails_with_its_error(fleet: Fleet) -> None:
    fleet.put("broken", HEAD + "@task\ndef broken():\n    raise ValueError('no such region')\n")
    fleet.start()
    (run,) = fleet.enqueue("broken")

    reason, error = fleet.failure(run)
    assert reason == "error"
    assert "no such region" in error


def test_parameters_are_checked_again_at_claim(fleet: Fleet) -> None:
    fleet.put("double", HEAD + "@task\ndef double(n: int = 1):\n    return 2 * n\n", **NUMBER)
    fleet.start()
    (run,) = fleet.enqueue("double", n="many")

    reason, error = fleet.failure(run)
    assert reason == "invalid_parameters"
    assert "n" in error


def test_what_a_run_prints_is_in_its_log_when_it_has_ended(fleet: Fleet) -> None:
    fleet.put("talk", HEAD + "@task\ndef talk():\n    print('hello there')\n")
    fleet.start()
    (run,) = fleet.enqueue("talk")

    fleet.result(run)
    texts = [fields[b"text"] for _, fields in fleet.redis.xrange(fleet.keys.logs(run))]
    assert texts == [b"hello there"]
    assert fleet.redis.ttl(fleet.keys.logs(run)) > 0


def test_five_hundred_short_runs_each_end_once(fleet: Fleet) -> None:
    fleet.put("double", HEAD + "@task\ndef double(n: int = 1):\n    return 2 * n\n", **NUMBER)
    fleet.start()
    runs = fleet.enqueue("double", 500, n=1)

    assert {fleet.result(run) for run in runs} == {2}
    assert all(fleet.redis.xlen(fleet.keys.rq_results(run)) == 1 for run in runs)
    until(lambda: fleet.report("w0").running == 0, what="the worker is idle again")


def test_short_runs_behind_a_slow_one_are_taken_back(fleet: Fleet) -> None:
    source = HEAD + "@task\ndef nap(n: int = 0):\n    time.sleep(n)\n    return os.getpid()\n"
    fleet.put("nap", source, **NUMBER)
    fleet.start(2)
    for run in fleet.enqueue("nap", 300, n=0):
        fleet.result(run)
    (slow,) = fleet.enqueue("nap", n=8)
    quick = fleet.enqueue("nap", 30, n=0)

    for run in quick:
        fleet.result(run, 5)
    assert fleet.field(slow, "status") == "started"
    assert all(fleet.field(run, "attempt") == "1" for run in quick)


def test_a_burst_ends_when_the_queue_is_empty(fleet: Fleet) -> None:
    fleet.put("double", HEAD + "@task\ndef double(n: int = 1):\n    return 2 * n\n", **NUMBER)
    runs = fleet.enqueue("double", 20, n=1)
    worker = fleet.start(burst=True, ready=False)

    assert worker.process.wait(20) == 0, worker.text()
    assert all(fleet.field(run, "status") == "finished" for run in runs)
    assert fleet.report("w0") is None
    assert not fleet.redis.exists(fleet.keys.rq_worker("w0"))


def test_max_jobs_ends_the_worker_after_so_many(fleet: Fleet) -> None:
    fleet.put("double", HEAD + "@task\ndef double(n: int = 1):\n    return 2 * n\n", **NUMBER)
    runs = fleet.enqueue("double", 5, n=1)
    worker = fleet.start(max_jobs=3, ready=False)

    assert worker.process.wait(20) == 0, worker.text()
    assert sorted(fleet.field(run, "status") for run in runs) == ["finished"] * 3 + ["queued"] * 2


def test_a_paused_task_starts_nothing_and_goes_on_when_it_is_resumed(fleet: Fleet) -> None:
    fleet.put("double", HEAD + "@task\ndef double(n: int = 1):\n    return 2 * n\n", **NUMBER)
    fleet.start()
    fleet.set_state("double", "paused")
    runs = fleet.enqueue("double", 3, n=1)

    until(lambda: fleet.redis.llen(fleet.keys.parked("double")) == 3, what="runs are parked")
    assert {fleet.field(run, "status") for run in runs} == {"queued"}
    fleet.set_state("double", "active")
    assert [fleet.result(run) for run in runs] == [2, 2, 2]
    assert {fleet.field(run, "attempt") for run in runs} == {"1"}


def test_queued_runs_of_a_retired_task_are_cancelled(fleet: Fleet) -> None:
    fleet.put("double", HEAD + "@task\ndef double(n: int = 1):\n    return 2 * n\n", **NUMBER)
    fleet.set_state("double", "retired")
    (run,) = fleet.enqueue("double", n=1)
    fleet.start()

    assert fleet.ended(run) == "canceled"


def test_queues_are_served_in_their_order(fleet: Fleet) -> None:
    source = HEAD + "@task\ndef note(n: int = 0):\n    return time.time()\n"
    fleet.put("note", source, **NUMBER)
    low = fleet.enqueue("note", 3, queue="low", n=0)
    high = fleet.enqueue("note", 3, queue="default", n=0)
    fleet.start(1, queues=("default", "low"))

    assert max(fleet.result(run) for run in high) < min(fleet.result(run) for run in low)
