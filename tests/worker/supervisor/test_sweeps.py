"""What one sweep takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from support.hands import put_task
from support.waiting import until

from taskq.producer.client import Client
from taskq.registry import clock
from taskq.registry.connect import connect
from taskq.registry.effects import run_sync
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.runs.document import read_run
from taskq.registry.runtime.server import Server
from taskq.registry.scripts import load
from taskq.registry.settings import Settings
from taskq.worker.supervisor.sweeper import Sweeper

_EVERY = 0.05
_LONG = 60_000


@pytest.fixture
def runs(settings: Settings, redis: Redis, keys: Keys) -> Iterator[list[str]]:
    """Three runs that wait."""
    put_task(redis, keys, "fine")
    with Client(settings=settings) as client:
        yield [run.id for run in client.enqueue_many("fine", [{}] * 3)]


def claimed_by(worker: str, redis: Redis, keys: Keys, count: int, *, lease: int) -> None:
    """Have a worker claim so many runs, for ``lease`` ms."""
    names = [keys.leases, keys.lease, keys.fence, keys.revision, keys.rq_queue("default")]
    load("claim").call(redis, names, [worker, lease, count, keys.rq])


def waiting(redis: Redis, keys: Keys) -> list[str]:
    return [run.decode() for run in redis.lrange(keys.rq_queue("default"), 0, -1)]


def passed(seconds: float) -> None:
    seen = clock.monotonic()
    until(lambda: clock.monotonic() - seen > seconds)


def sweeper(server: Server, worker: str = "alive") -> Sweeper:
    return Sweeper(server, Snapshot(), list, worker=worker, queues=["default"])


def quick(settings: Settings, keys: Keys, **times: float) -> Server:
    return Server(settings.model_copy(update={"sweep": _EVERY, **times}), keys)


def test_f1_all_that_a_large_worker_held_is_taken_over_by_one_sweep_in_its_order(settings: Settings, redis: Redis, keys: Keys) -> None:
    put_task(redis, keys, "fine")
    with Client(settings=settings) as client:
        runs = [run.id for run in client.enqueue_many("fine", [{}] * 900)]
    claimed_by("dead", redis, keys, len(runs), lease=1)
    damaged = runs.pop(300)
    redis.delete(keys.rq_job(damaged))
    redis.set(keys.rq_job(damaged), "no hash")

    async def sweep() -> None:
        server = quick(settings, keys)
        one = sweeper(server)
        await one.step()
        passed(_EVERY)
        await one.step()
        await server.close()

    asyncio.run(sweep())

    assert redis.zcard(keys.leases) == redis.hlen(keys.lease) == 0
    assert waiting(redis, keys) == runs


def test_f1_what_one_sweeper_had_seen_late_is_taken_over_by_the_next_one(
    settings: Settings, redis: Redis, keys: Keys, runs: list[str]
) -> None:
    async def sweep() -> None:
        server = quick(settings, keys)
        # Given a sweeper that has been there for a sweep when it sees the leases, and dies before its second look
        first = sweeper(server)
        await first.step()
        passed(_EVERY)
        claimed_by("dead", redis, keys, len(runs), lease=1)
        passed(0.002)
        await first.step()
        passed(_EVERY)
        # When another one has its first look
        await sweeper(server).step()
        await server.close()

    asyncio.run(sweep())

    assert waiting(redis, keys) == runs
    assert all(redis.hget(keys.rq_job(run), "late") is None for run in runs)


def test_f9_a_sweeper_that_has_just_begun_or_met_an_outage_notes_nothing(
    settings: Settings, redis: Redis, keys: Keys, runs: list[str]
) -> None:
    async def sweep() -> None:
        server = quick(settings, keys)
        claimed_by("dead", redis, keys, len(runs), lease=1)
        passed(0.002)
        one = sweeper(server)
        await one.step()
        server.outages += 1
        passed(_EVERY)
        await one.step()
        assert all(redis.hget(keys.rq_job(run), "late") is None for run in runs)
        assert redis.zcard(keys.leases) == len(runs)
        # Its owner has had a sweep to renew it since
        passed(_EVERY)
        await one.step()
        await server.close()

    asyncio.run(sweep())

    assert waiting(redis, keys) == runs


def test_a_lease_that_is_late_is_seen_before_it_expires_and_left_alone_until_then(
    settings: Settings, redis: Redis, keys: Keys, runs: list[str]
) -> None:
    async def sweep() -> None:
        # Given leases of 60 s that should have been renewed long ago: their owners renew each second
        server = quick(settings, keys, lease=2 * _LONG / 1000, lease_renew=1.0)
        claimed_by("slow", redis, keys, len(runs), lease=_LONG)
        one = sweeper(server)
        for _ in range(3):
            await one.step()
            passed(_EVERY)
        assert redis.zcard(keys.leases) == len(runs)
        # When they expire
        redis.zadd(keys.leases, dict.fromkeys(runs, 1))
        await one.step()
        assert redis.zcard(keys.leases) == len(runs), "a lease with another expiry is another lease"
        await server.close()

    asyncio.run(sweep())


def test_f30_a_server_that_refuses_renewals_refuses_the_look_as_well(own_server: Any, settings: Settings, keys: Keys) -> None:
    with connect(settings.model_copy(update={"redis_url": own_server.url})) as redis:
        redis.config_set("min-replicas-to-write", 1)
        with pytest.raises(ResponseError, match="NOREPLICAS"):
            load("expired").call(redis, [keys.leases, keys.lease], [keys.rq, 1, "", 0, ""])


def test_f1_runs_of_an_earlier_worker_of_this_name_are_lost_with_it_also_where_redis_was_away_at_the_start(
    settings: Settings, redis: Redis, keys: Keys, runs: list[str]
) -> None:
    """They may have begun; what this worker itself claimed in vain has not."""

    async def sweep() -> None:
        server = quick(settings, keys)
        await server.sync_clock()
        claimed_by("w", redis, keys, 2, lease=_LONG)
        # Given a worker that could not take over what was its name's when it began, and whose first claim was never answered
        passed(0.01)
        one = sweeper(server, "w")
        call, server.call = server.call, refused  # type: ignore[method-assign]
        with pytest.raises(ConnectionError):
            await one.take_over_from("w")
        server.call = call  # type: ignore[method-assign]
        passed(0.01)
        claimed_by("w", redis, keys, 1, lease=_LONG)
        # When the outage is over
        server.outages += 1
        for _ in range(2):
            await one.step()
            passed(_EVERY)
        await server.close()

    asyncio.run(sweep())

    assert set(waiting(redis, keys)) == set(runs)
    documents = [run_sync(read_run(keys, run), redis) for run in runs]
    assert [[attempt["outcome"] for attempt in document["attempts"]] for document in documents] == [["worker_lost"], ["worker_lost"], []]


async def refused(*_: object) -> Any:
    raise ConnectionError
