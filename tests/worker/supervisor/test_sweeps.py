"""What one sweep takes over."""

from __future__ import annotations

import asyncio

from redis import Redis
from support.hands import put_task
from support.waiting import until

from taskq.producer.client import Client
from taskq.registry import clock
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.runtime.server import Server
from taskq.registry.scripts import load
from taskq.registry.settings import Settings
from taskq.worker.supervisor.sweeper import Sweeper

_EVERY = 0.05


def test_f1_all_that_a_large_worker_held_is_taken_over_by_one_sweep_in_its_order(settings: Settings, redis: Redis, keys: Keys) -> None:
    put_task(redis, keys, "fine")
    with Client(settings=settings) as client:
        runs = [run.id for run in client.enqueue_many("fine", [{}] * 900)]
    names = [keys.leases, keys.lease, keys.fence, keys.revision, keys.rq_queue("default")]
    load("claim").call(redis, names, ["dead", 1, len(runs), keys.rq])
    damaged = runs.pop(300)
    redis.delete(keys.rq_job(damaged))
    redis.set(keys.rq_job(damaged), "no hash")

    async def sweep() -> None:
        server = Server(settings.model_copy(update={"sweep": _EVERY}), keys)
        sweeper = Sweeper(server, Snapshot(), list, worker="alive", queues=["default"])
        await sweeper.step()
        seen = clock.monotonic()
        until(lambda: clock.monotonic() - seen > _EVERY)
        await sweeper.step()
        await server.close()

    asyncio.run(sweep())

    assert redis.zcard(keys.leases) == redis.hlen(keys.lease) == 0
    assert [run.decode() for run in redis.lrange(keys.rq_queue("default"), 0, -1)] == runs
