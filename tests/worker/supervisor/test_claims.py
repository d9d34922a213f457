"""How an idle worker comes to its next run, whatever happens to the call in which it waits."""

from __future__ import annotations

import os
import signal

import pytest
from support.fleet import Fleet
from support.waiting import until

from taskq.registry import scripts

NAP = "import time\nfrom taskq.registry import task\n@task\ndef nap():\n    time.sleep(4)\n"
SOURCE = "from taskq.registry import task\n@task\ndef here():\n    return 1\n"


def waiting(fleet: Fleet) -> list[str]:
    """Ids of the connections that wait for a run."""
    return [client["id"] for client in fleet.redis.client_list() if client["cmd"] == "blmove" and "b" in client["flags"]]


def idle(fleet: Fleet, looks: int = 1) -> list[str]:
    """Until the worker waits for a run; returns the connections in which it does."""
    until(lambda: len(waiting(fleet)) == looks, what="the worker waits")
    return waiting(fleet)


def test_a_lone_run_is_claimed_when_the_server_has_forgotten_the_scripts(fleet: Fleet) -> None:
    fleet.put("here", SOURCE)
    fleet.start()
    idle(fleet)

    fleet.redis.script_flush()
    (run,) = fleet.enqueue("here")

    assert fleet.result(run) == 1
    assert "Traceback" not in fleet.texts()


@pytest.mark.parametrize("error", [True, False])
@pytest.mark.parametrize("queues", [("default",), ("default", "other")])
def test_a_wait_that_is_ended_from_outside_begins_again(fleet: Fleet, queues: tuple[str, ...], error: bool) -> None:
    fleet.put("here", SOURCE)
    fleet.start(queues=queues)
    for look in idle(fleet, len(queues)):
        fleet.redis.client_unblock(int(look), error=error)

    (run,) = fleet.enqueue("here")

    assert fleet.result(run) == 1
    assert "Redis refused" not in fleet.texts() and "away" not in fleet.texts()


def test_a_wait_that_loses_its_connection_begins_again(fleet: Fleet) -> None:
    fleet.put("here", SOURCE)
    fleet.start()
    (look,) = idle(fleet)
    fleet.redis.client_kill_filter(_id=look)
    until(lambda: "Redis is back" in fleet.texts(), what="the worker has noticed")

    (run,) = fleet.enqueue("here")

    assert fleet.result(run) == 1


def test_an_idle_worker_that_is_killed_takes_no_run_along(fleet: Fleet) -> None:
    fleet.put("here", SOURCE)
    worker = fleet.start(name="first")
    idle(fleet)

    worker.kill()
    until(lambda: not waiting(fleet), what="its wait is over")
    (run,) = fleet.enqueue("here")

    assert fleet.field(run, "status") == "queued"
    fleet.start(name="second")
    assert fleet.result(run) == 1
    assert fleet.field(run, "attempt") == "1"


def test_two_idle_workers_share_a_lone_run_each_time(fleet: Fleet) -> None:
    fleet.put("here", SOURCE)
    fleet.start(1, name="first")
    fleet.start(1, name="second")
    for _ in range(20):
        idle(fleet, 2)
        (run,) = fleet.enqueue("here")
        assert fleet.result(run) == 1
        assert fleet.field(run, "attempt") == "1"
        assert fleet.redis.xlen(fleet.keys.rq_results(run)) == 1


def test_a_worker_of_two_queues_takes_a_lone_run_of_either(fleet: Fleet) -> None:
    fleet.put("here", SOURCE)
    fleet.put("there", SOURCE.replace("here", "there"), queue="other")
    fleet.start(queues=("default", "other"))
    for task, queue in [("here", "default"), ("there", "other")] * 3:
        idle(fleet, 2)
        (run,) = fleet.enqueue(task, queue=queue)
        assert fleet.result(run) == 1


@pytest.mark.parametrize("queues", [("default",), ("default", "other")])
def test_a_server_that_is_full_still_gives_its_runs_to_an_idle_worker(fleet: Fleet, queues: tuple[str, ...]) -> None:
    fleet.put("here", SOURCE)
    worker = fleet.start(queues=queues)
    idle(fleet, len(queues))
    os.kill(worker.process.pid, signal.SIGSTOP)
    until(lambda: not waiting(fleet), what="its look is over")
    runs = fleet.enqueue("here", 5)
    fleet.redis.config_set("maxmemory", "1mb")
    try:
        os.kill(worker.process.pid, signal.SIGCONT)
        for run in runs:
            assert fleet.ended(run) == "finished"
    finally:
        fleet.redis.config_set("maxmemory", "0")
    assert [fleet.field(run, "attempt") for run in runs] == ["1"] * 5


def test_what_a_lost_reply_had_claimed_goes_back_as_soon_as_the_worker_drains(fleet: Fleet) -> None:
    fleet.put("nap", NAP)
    fleet.put("here", SOURCE, queue="other")
    worker = fleet.start(1, name="draining")
    (nap,) = fleet.enqueue("nap")
    until(lambda: fleet.field(nap, "version") == "1", what="it is in progress")
    runs = fleet.enqueue("here", 300, queue="other")
    keys = fleet.keys
    queue = keys.rq_queue("other")
    names = [keys.leases, keys.lease, keys.fence, keys.revision, queue]
    scripts.load("claim").call(fleet.redis, names, [worker.name, 60_000, len(runs), keys.rq])
    assert fleet.redis.llen(queue) == 0

    worker.terminate()

    until(lambda: fleet.redis.llen(queue) == len(runs), 3, "they are queued")
    assert fleet.field(nap, "status") == "started"
    assert [run.decode() for run in fleet.redis.lrange(queue, 0, -1)] == runs
    assert {fleet.field(run, "attempt") for run in runs} == {"0"}
    assert fleet.ended(nap) == "finished"
