"""What is counted of runs that ended."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from redis import Redis
from support.fleet import Fleet
from support.hands import WORKER, claim, put_task
from support.waiting import until

from taskq.producer.client import Client
from taskq.registry.effects import run_sync
from taskq.registry.keys import Keys
from taskq.registry.runs.stats import Stats, percentile, read_stats
from taskq.registry.scripts import load
from taskq.registry.settings import Settings
from taskq.worker.runs.recording import finish_args
from taskq.worker.runs.run import Run
from taskq.worker.runs.statistics import BOUNDS, bucket, count, stats_args
from taskq.worker.runs.verdicts import Finish, Release

NOTE = "import time\nfrom taskq.registry import task\n@task\ndef note():\n    time.sleep(0.003)\n"
BROKEN = "from taskq.registry import task\n@task\ndef broken():\n    raise ValueError\n"


def made(task: str = "note", version: int = 1, took: float | None = None) -> Run:
    return Run("run", "1", "default", "taskq.default", task, 1, b"", version=version, took=took)


def stats(redis: Redis, keys: Keys, task: str, minutes: int = 2) -> Stats:
    return run_sync(read_stats(keys, task, 1, minutes), redis)


def claimed(settings: Settings, redis: Redis, keys: Keys, number: int) -> list[tuple[Run, Finish]]:
    """Runs that are in progress, and have succeeded."""
    put_task(redis, keys, "note")
    with Client(settings=settings) as client:
        client.enqueue_many("note", [{}] * number)
    items = []
    for one in claim(redis, keys, number):
        run = made(took=0.001)
        run.id, run.token = one.run, one.token
        items.append((run, Finish("finished")))
    return items


def finish(settings: Settings, redis: Redis, keys: Keys, items: list[tuple[Run, Finish]]) -> list[bytes]:
    args = [keys.rq, keys.prefix, WORKER, *finish_args(items, settings, counts=count(items))]
    return list(load("finish").call(redis, [keys.leases, keys.lease, keys.events], args))


@pytest.mark.parametrize(
    ("milliseconds", "field"),
    [(0.0, "le:1"), (1.0, "le:1"), (1.001, "le:2"), (7, "le:10"), (999, "le:1000"), (3_600_000, "le:3600000"), (3_600_001, "le:inf")],
)
def test_a_duration_falls_into_the_smallest_bucket_that_holds_it(milliseconds: float, field: str) -> None:
    assert bucket(milliseconds) == field


def test_buckets_grow_by_two_and_a_half_at_most() -> None:
    assert all(low < high <= 2.5 * low for low, high in itertools.pairwise(BOUNDS))


def test_a_batch_is_added_up_by_version_and_outcome() -> None:
    counts = count(
        [
            (made(took=0.0004), Finish("finished")),
            (made(took=0.0006), Finish("finished")),
            (made(took=0.03), Finish("failed", "error")),
            (made(version=2), Finish("canceled")),
            (made(took=0.03), Release("front", burned=True)),
            (made(), Release("front")),
            (made(version=0), Finish("canceled", "retired")),
        ]
    )

    assert counts == {
        ("note", 1): {"succeeded": 2, "failed": 1, "retried": 1, "le:1": 2, "le:50": 2, "sum_ms": pytest.approx(61.0)},
        ("note", 2): {"cancelled": 1},
    }


def test_counts_of_several_batches_are_added() -> None:
    counts = count([(made(), Finish("finished"))])
    assert count([(made(), Finish("finished"))], counts) == {("note", 1): {"succeeded": 2}}


def test_what_workers_count_can_be_read(fleet: Fleet) -> None:
    fleet.put("note", NOTE)
    fleet.put("broken", BROKEN)
    fleet.start()
    for run in [*fleet.enqueue("note", 30), *fleet.enqueue("broken", 3)]:
        fleet.ended(run)

    until(lambda: stats(fleet.redis, fleet.keys, "note")["succeeded"] == 30, what="all are counted")
    read = stats(fleet.redis, fleet.keys, "note")
    assert (read["failed"], read["cancelled"], read["retried"]) == (0, 0, 0)
    assert sum(number for _, number in read["durations"]) == 30
    assert read["sum_ms"] >= 30 * 3
    assert percentile(read, 0.5) >= 5
    assert stats(fleet.redis, fleet.keys, "broken")["failed"] == 3
    (key, *_) = fleet.redis.keys(fleet.keys.stats("note", 1, 0)[:-1] + "*")
    assert 24 * 3600 < fleet.redis.ttl(key) <= 25 * 3600


def test_nothing_is_counted_where_statistics_are_off(fleet: Fleet) -> None:
    fleet.put("note", NOTE)
    fleet.start(TASKQ_STATS="false")
    for run in fleet.enqueue("note", 3):
        fleet.result(run)

    assert not fleet.redis.keys(fleet.keys.stats("note", 1, 0)[:-1] + "*")


def test_without_runs_there_is_no_percentile(redis: Redis, keys: Keys) -> None:
    read = stats(redis, keys, "none")
    assert read["durations"] == [] and percentile(read, 0.5) is None


def test_a_percentile_beyond_the_last_bound_is_infinite() -> None:
    read: Any = {"durations": [(1.0, 1), (math.inf, 9)]}
    assert percentile(read, 0.1) == 1.0
    assert percentile(read, 0.5) == math.inf


def test_the_server_counts_only_what_it_recorded(settings: Settings, redis: Redis, keys: Keys) -> None:
    items = claimed(settings, redis, keys, 2)
    assert finish(settings, redis, keys, items[:1]) == []
    assert stats(redis, keys, "note")["succeeded"] == 1
    # The same again, as after a lost reply, with a further one: the caller is told, and counts that one with its next call.
    assert finish(settings, redis, keys, items) == [b"done", b"ok"]
    assert stats(redis, keys, "note")["succeeded"] == 1
    no_runs = [keys.rq, keys.prefix, WORKER, 0, 0, *stats_args(count(items[1:]))]
    assert load("finish").call(redis, [keys.leases, keys.lease, keys.events], no_runs) == []
    assert stats(redis, keys, "note")["succeeded"] == 2


def test_counts_that_can_not_be_written_take_no_outcome_along(settings: Settings, redis: Redis, keys: Keys) -> None:
    items = claimed(settings, redis, keys, 2)
    minute = int(redis.time()[0]) // 60
    for near in range(minute, minute + 2):
        redis.set(keys.stats("note", 1, near), "spoiled")

    assert finish(settings, redis, keys, items) == []
    assert [redis.hget(keys.rq_job(run.id), "status") for run, _ in items] == [b"finished"] * 2
    assert redis.hlen(keys.lease) == 0
