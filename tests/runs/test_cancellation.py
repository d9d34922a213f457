"""Cancelling runs that wait, and the mark of those that run."""

from __future__ import annotations

import json
import threading

import pytest
from redis import Redis
from support.hands import claim, finish, put_task, release

from taskq import Client
from taskq.registry.effects import run_sync
from taskq.registry.errors import Conflict, NotFound, WaitTimeout
from taskq.registry.keys import Keys
from taskq.registry.runs.cancellation import cancel_run, request_cancel
from taskq.registry.settings import Settings


@pytest.fixture
def client(settings: Settings, redis: Redis, keys: Keys) -> Client:
    put_task(redis, keys, "job")
    return Client(redis, settings=settings)


def test_a_running_run_is_marked_and_its_worker_is_told_in_two_ways(client: Client, redis: Redis, keys: Keys, settings: Settings) -> None:
    run = client.enqueue("job")
    (claimed,) = claim(redis, keys)
    with redis.pubsub() as channel:
        channel.subscribe(keys.control)
        channel.get_message(timeout=2)
        assert run_sync(request_cancel(keys, settings, run.id, "no more"), redis) == 5.0
        message = channel.get_message(timeout=2)
    assert message is not None
    assert json.loads(message["data"]) == {"type": "cancel", "run": run.id, "reason": "no more"}
    worker = redis.hget(keys.rq_job(run.id), "worker_name").decode()
    assert redis.hgetall(keys.asked(worker)) == {f"cancel:{claimed.token}:{run.id}".encode(): b"no more"}
    assert redis.ttl(keys.asked(worker)) > 0
    assert run.refresh().status == "running"
    assert finish(redis, keys, claimed, 1) == "ok"


@pytest.mark.parametrize("where", ["front", "back", "park"])
def test_a_marked_run_is_cancelled_by_whoever_gives_it_back(
    client: Client, redis: Redis, keys: Keys, settings: Settings, where: str
) -> None:
    run = client.enqueue("job")
    (claimed,) = claim(redis, keys)
    run_sync(request_cancel(keys, settings, run.id, "no more"), redis)

    assert release(redis, keys, claimed, where=where) == "ok"
    assert (run.refresh().status, run.reason) == ("cancelled", "no more")
    assert redis.llen(keys.rq_queue("default")) == redis.llen(keys.parked("job")) == 0
    assert redis.ttl(keys.rq_job(run.id)) > 0
    assert not redis.hexists(keys.rq_job(run.id), "cancel")
    ((_, entry),) = redis.xrange(keys.events)
    assert json.loads(entry[b"event"])["type"] == "taskq.run.cancelled"


def test_a_run_without_a_mark_is_given_back_as_ever(client: Client, redis: Redis, keys: Keys) -> None:
    run = client.enqueue("job")
    (claimed,) = claim(redis, keys)
    assert release(redis, keys, claimed) == "ok"
    assert run.refresh().status == "queued"


def test_what_may_only_take_back_what_waits_leaves_a_running_run_alone(
    client: Client, redis: Redis, keys: Keys, settings: Settings
) -> None:
    run = client.enqueue("job")
    claim(redis, keys)
    with pytest.raises(Conflict, match="is running"):
        run_sync(cancel_run(keys, settings, run.id), redis)
    assert not redis.hexists(keys.rq_job(run.id), "cancel")


def test_cancelling_waits_for_the_worker_and_says_if_it_does_not_confirm(client: Client, redis: Redis, keys: Keys) -> None:
    run = client.enqueue("job")
    claim(redis, keys)
    with pytest.raises(WaitTimeout, match=r"has not confirmed it within 0\.2 s") as caught:
        run.cancel(wait=0.2)
    assert "the request stands" in caught.value.hint
    run.cancel(wait=0)
    assert run.status == "running"


def test_cancelling_says_if_the_run_had_ended(client: Client, redis: Redis, keys: Keys) -> None:
    run = client.enqueue("job")
    (claimed,) = claim(redis, keys)
    late = threading.Timer(0.2, finish, (redis, keys, claimed, 1))
    late.start()
    with pytest.raises(Conflict, match="had ended before it could be stopped: succeeded"):
        run.cancel()
    late.join()
    with pytest.raises(Conflict, match="has ended: succeeded"):
        run.cancel()


def test_cancelling_returns_once_the_worker_has_given_the_run_back(client: Client, redis: Redis, keys: Keys) -> None:
    run = client.enqueue("job")
    (claimed,) = claim(redis, keys)
    late = threading.Timer(0.2, release, (redis, keys, claimed))
    late.start()
    run.cancel("no more")
    late.join()
    assert (run.status, run.reason) == ("cancelled", "no more")


def test_there_must_be_such_a_run(client: Client, redis: Redis, keys: Keys, settings: Settings) -> None:
    with pytest.raises(NotFound, match="there is no run nothing"):
        run_sync(request_cancel(keys, settings, "nothing"), redis)
