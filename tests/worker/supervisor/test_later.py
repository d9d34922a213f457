"""Runs that are due later, as workers treat them: left alone before, as any other afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import hands, later
from support.fleet import Fleet
from support.waiting import until

from taskq.producer import Client

HEAD = "from taskq.registry import task\n"


@pytest.fixture
def client(fleet: Fleet) -> Iterator[Client]:
    with Client(fleet.redis, settings=fleet.settings) as made:
        yield made


def version(fleet: Fleet, result: int) -> int:
    """A further version of task ``job``, which returns this."""
    return fleet.put("job", HEAD + f"@task\ndef job():\n    return {result}\n")


def test_no_sweep_touches_a_run_before_it_is_due(fleet: Fleet, client: Client) -> None:
    version(fleet, 1)
    waiting = client.options(in_="1h").enqueue("job")
    keys, redis = fleet.keys, fleet.redis
    before = redis.hgetall(keys.rq_job(waiting.id))
    # Given a run of a worker that is dead, so that it is seen when sweeps were done
    lost = client.enqueue("job")
    hands.claim(redis, keys, lease=1)
    fleet.start()
    assert lost.wait(20) == 1
    assert lost.attempts[0]["outcome"] == "worker_lost"
    # Then the one that is due later is as it was
    assert redis.hgetall(keys.rq_job(waiting.id)) == before
    assert redis.ttl(keys.rq_job(waiting.id)) == -1
    assert redis.zrange(keys.rq_registry("scheduled", "default"), 0, -1) == [waiting.id.encode()]
    # And it runs when its time has come
    later.come_due(redis, keys, waiting.id)
    later.move(redis, keys)
    assert waiting.wait(20) == 1
    assert (waiting.attempt, waiting.due_at is not None) == (1, True)


def test_the_route_of_its_time_decides_unless_it_is_pinned(fleet: Fleet, client: Client) -> None:
    version(fleet, 1)
    routed, pinned = (client.options(in_="1h", pin=pin).enqueue("job") for pin in (False, True))
    version(fleet, 2)
    fleet.start()
    later.come_due(fleet.redis, fleet.keys, routed.id, pinned.id)
    later.move(fleet.redis, fleet.keys)
    assert (routed.wait(20), pinned.wait(20)) == (2, 1)


def test_a_run_of_a_paused_task_becomes_due_and_waits_until_it_is_resumed(fleet: Fleet, client: Client) -> None:
    version(fleet, 1)
    run = client.options(in_="1h").enqueue("job")
    fleet.start()
    fleet.set_state("job", "paused")
    later.come_due(fleet.redis, fleet.keys, run.id)
    later.move(fleet.redis, fleet.keys)
    until(lambda: fleet.redis.llen(fleet.keys.parked("job")), 20, "the run is put aside")
    assert run.refresh().status == "queued"
    fleet.set_state("job", "active")
    assert run.wait(20) == 1


def test_a_run_that_becomes_due_after_its_task_was_retired_is_cancelled(fleet: Fleet, client: Client) -> None:
    # Given that whoever retired it was killed before it had cancelled the runs
    version(fleet, 1)
    run = client.options(in_="1h").enqueue("job")
    fleet.set_state("job", "retired")
    fleet.start()
    later.come_due(fleet.redis, fleet.keys, run.id)
    later.move(fleet.redis, fleet.keys)
    assert fleet.ended(run.id) == "canceled"
