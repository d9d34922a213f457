"""The script that moves due runs to their queues: whose they are, in which order, and what else it finds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest
from redis import Redis
from support import hands, later

from taskq.registry.effects import run_sync
from taskq.registry.keys import Keys
from taskq.registry.runs.creation import Batch, NewRun, encode, enqueue_call, form_of
from taskq.registry.runs.later import Moved, move_due
from taskq.registry.settings import Settings

HOUR = 3_600_000


@pytest.fixture(params=["valkey", "fakeredis"])
def server(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Redis]:
    """A clean server, real or faked."""
    if request.param == "valkey":
        yield request.getfixturevalue("redis")
        return
    with fakeredis.FakeRedis(version=(7,)) as fake:
        yield fake


def put(redis: Redis, keys: Keys, due: str, *runs: str, queue: str = "default") -> Any:
    """Runs of task ``count`` that are due then; the script's reply."""
    form = form_of(keys, Batch(task="count", queue=queue, timeout=5, due=due))
    call = enqueue_call(form, [NewRun(run, encode("count", {}, 100)) for run in runs])
    return call.script.call(redis, call.keys, call.args)


def test_a_run_that_is_due_later_waits_beside_its_queue(server: Redis, keys: Keys) -> None:
    before = server.time()[0]
    reply = put(server, keys, f"+{HOUR}", "a")
    due = int(reply[2])
    assert before * 1000 + HOUR <= due <= (server.time()[0] + 1) * 1000 + HOUR
    assert server.zrange(keys.scheduler_runs, 0, -1, withscores=True) == [(b"a", due)]
    assert server.zrange(keys.rq_registry("scheduled", "default"), 0, -1, withscores=True) == [(b"a", due / 1000)]
    assert server.hmget(keys.rq_job("a"), "status", "due", "enqueued_at") == [b"scheduled", str(due).encode(), None]
    assert server.ttl(keys.rq_job("a")) == -1
    assert server.llen(keys.rq_queue("default")) == 0
    assert server.smembers(keys.rq_queues) == {keys.rq_queue("default").encode()}
    # And nothing is moved before its time
    assert later.move(server, keys) == Moved(True, pytest.approx(before * 1000, abs=10_000), 0, due)
    assert hands.claim(server, keys) == []


def test_a_call_that_is_sent_twice_tells_the_first_time_and_makes_one_run(server: Redis, keys: Keys) -> None:
    first = put(server, keys, f"+{HOUR}", "a", "b")
    again = put(server, keys, f"+{2 * HOUR}", "a", "b")
    assert (again[2], first[3:], again[3:]) == (first[2], [1, 1], [0, 0])
    assert server.zscore(keys.scheduler_runs, "a") == int(first[2])
    # And so it does after the time has come
    assert put(server, keys, "1000", "a", "b")[2] == first[2]
    assert server.llen(keys.rq_queue("default")) == 0


def test_due_runs_are_moved_in_the_order_of_their_times_and_are_claimed_as_any_other(server: Redis, keys: Keys) -> None:
    for run in ("later", "first", "second"):
        put(server, keys, f"+{HOUR}", run)
    later.come_due(server, keys, "first", "second")
    moved = later.move(server, keys)
    assert moved.count == 2
    assert moved.next_ms == server.zscore(keys.scheduler_runs, "later")
    assert [claimed.run for claimed in hands.claim(server, keys, 5)] == ["first", "second"]
    assert server.zrange(keys.rq_registry("scheduled", "default"), 0, -1) == [b"later"]
    assert server.hexists(keys.rq_job("first"), "enqueued_at")


def test_a_call_moves_so_many_at_most_and_says_that_more_are_due(server: Redis, keys: Keys) -> None:
    put(server, keys, f"+{HOUR}", "a", "b", "c")
    later.come_due(server, keys, "a", "b", "c")
    first = later.move(server, keys, limit=2)
    assert first.count == 2
    assert first.next_ms is not None
    assert first.next_ms <= first.now_ms
    assert later.move(server, keys, limit=2) == Moved(True, pytest.approx(first.now_ms, abs=10_000), 1, None)
    assert server.lrange(keys.rq_queue("default"), 0, -1) == [b"a", b"b", b"c"]


def test_one_who_no_longer_leads_moves_nothing(server: Redis, keys: Keys) -> None:
    put(server, keys, f"+{HOUR}", "a")
    later.come_due(server, keys, "a")
    earlier = later.lead(server, keys, "one")
    later.lead(server, keys, "other")
    lost = run_sync(move_due(keys, earlier), server)
    assert (lost.leads, lost.count, lost.next_ms) == (False, 0, None)
    assert server.zcard(keys.scheduler_runs) == 1
    assert server.hget(keys.rq_job("a"), "status") == b"scheduled"


def test_what_is_gone_or_somebody_else_has_moved_keeps_nobody(server: Redis, keys: Keys) -> None:
    put(server, keys, f"+{HOUR}", "gone", "enqueued", "spoilt", "good")
    later.come_due(server, keys, "gone", "enqueued", "spoilt", "good")
    server.delete(keys.rq_job("gone"), keys.rq_job("spoilt"))
    server.set(keys.rq_job("spoilt"), "no hash")
    # As RQ's own scheduler would
    server.hset(keys.rq_job("enqueued"), "status", "queued")
    server.rpush(keys.rq_queue("default"), "enqueued")
    assert later.move(server, keys).count == 1
    assert server.zcard(keys.scheduler_runs) == 0
    assert server.lrange(keys.rq_queue("default"), 0, -1) == [b"enqueued", b"good"]


def test_a_queued_event_is_sent_where_all_are_wanted(server: Redis, keys: Keys) -> None:
    put(server, keys, f"+{HOUR}", "quiet", "loud")
    later.come_due(server, keys, "quiet")
    later.move(server, keys)
    assert server.xlen(keys.events) == 0
    later.come_due(server, keys, "loud")
    listener = server.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.events)
    listener.get_message(timeout=5)
    later.move(server, keys, events=True)
    ((entry, fields),) = server.xrange(keys.events)
    event = json.loads(fields[b"event"])
    assert (event["type"], event["subject"], event["data"]) == ("taskq.run.queued", "count", {"run": "loud", "status": "queued"})
    message = listener.get_message(timeout=5)
    assert message is not None
    assert json.loads(message["data"]) == event | {"id": entry.decode()}
    listener.close()


def test_a_time_in_the_past_is_now(server: Redis, keys: Keys) -> None:
    assert put(server, keys, "1000", "a")[2] == b""
    assert server.lrange(keys.rq_queue("default"), 0, -1) == [b"a"]
    assert server.hmget(keys.rq_job("a"), "status", "due") == [b"queued", None]


def test_only_what_is_due_before_all_others_wakes_the_scheduler(server: Redis, keys: Keys) -> None:
    listener = server.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.scheduler_wake)
    listener.get_message(timeout=5)
    put(server, keys, f"+{HOUR}", "a")
    put(server, keys, f"+{2 * HOUR}", "b")
    put(server, keys, f"+{HOUR // 2}", "c")
    said = [listener.get_message(timeout=5), listener.get_message(timeout=5)]
    assert [message and message["data"] for message in said] == [b"due", b"due"]
    assert listener.get_message(timeout=0) is None
    listener.close()
