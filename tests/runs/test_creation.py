"""The script that creates runs: sent twice, against another revision, with a key, and its caps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.runs import creation
from taskq.registry.runs.creation import Batch, NewRun, encode, enqueue_call, form_of, form_of_one, packed_head, packed_run
from taskq.registry.serializer import GUARD

DATA = encode("count", {}, 100)
BATCH = Batch(task="count", queue="default", timeout=1.5)


def send(redis: Redis, keys: Keys, batch: Batch, *runs: str) -> Any:
    call = enqueue_call(form_of(keys, batch), [NewRun(run, DATA) for run in runs])
    return call.script.call(redis, call.keys, call.args)


def test_a_call_that_is_sent_twice_creates_its_runs_once(redis: Redis, keys: Keys) -> None:
    assert send(redis, keys, BATCH, "a", "b")[3:] == [1, 1]
    assert send(redis, keys, BATCH, "a", "b")[3:] == [0, 0]
    assert redis.lrange(keys.rq_queue("default"), 0, -1) == [b"a", b"b"]
    keyed = replace(BATCH, once="taskq:once:count:x")
    assert (send(redis, keys, keyed, "c")[3], send(redis, keys, keyed, "c")[3]) == (1, 0)
    assert send(redis, keys, keyed, "d") == [b"duplicate", b"c"]


def test_nothing_is_written_against_another_revision(redis: Redis, keys: Keys) -> None:
    redis.set(keys.revision, 7)
    assert send(redis, keys, replace(BATCH, revision="6", once="taskq:once:count:x"), "a") == [b"moved", b"7"]
    assert redis.keys("*") == [keys.revision.encode()]
    assert send(redis, keys, replace(BATCH, revision="7"), "a")[3:] == [1]


def test_rqs_timeout_is_never_shorter_than_ours(redis: Redis, keys: Keys) -> None:
    send(redis, keys, BATCH, "a")
    send(redis, keys, replace(BATCH, limit=3.2), "b")
    assert [redis.hmget(keys.rq_job(run), "timeout", "limit") for run in "ab"] == [[b"2", None], [b"4", b"3.2"]]


def test_the_indexes_stay_near_their_cap(redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creation, "INDEX_CAP", 100)
    for batch in range(5):
        send(redis, keys, BATCH, *(f"{batch}-{number}" for number in range(100)))
    assert (redis.zcard(keys.runs), redis.zcard(keys.runs_of("count"))) == (100, 100)
    assert redis.zscore(keys.runs, "4-99") is not None


def test_a_queue_is_known_to_rq_again_after_rq_has_deleted_it(redis: Redis, keys: Keys) -> None:
    send(redis, keys, BATCH, "a")
    redis.delete(keys.rq_queue("default"))
    redis.srem(keys.rq_queues, keys.rq_queue("default"))
    send(redis, keys, BATCH, "b")
    assert redis.smembers(keys.rq_queues) == {keys.rq_queue("default").encode()}


def test_parameters_at_the_limit_pass_and_one_byte_more_does_not() -> None:
    text = "x" * 10
    fits = len(encode("count", {"t": text}, 1000)) - len(GUARD)
    encode("count", {"t": text}, fits)
    with pytest.raises(InvalidInput, match=f"take {fits} bytes, allowed are {fits - 1}"):
        encode("count", {"t": text}, fits - 1)


def test_a_run_that_is_sent_alone_is_written_as_one_of_a_batch(redis: Redis, keys: Keys) -> None:
    batch = replace(BATCH, revision="0")
    one = form_of_one(keys, batch)
    assert one is not None
    packed = packed_head(one) + packed_run(b"alone", DATA)
    one.script.call(redis, one.names, [*one.head, "loads it", DATA])
    connection = redis.connection_pool.get_connection()
    connection.send_packed_command([packed], False)
    reply = connection.read_response()
    redis.connection_pool.release(connection)
    batched = send(redis, keys, batch, "batched")
    assert [(reply[0], *reply[2:]) for reply in (reply, batched)] == [(b"ok", b"", 1)] * 2
    jobs = [redis.hgetall(keys.rq_job(run)) for run in ("alone", "batched")]
    for job in jobs:
        assert job.pop(b"created_at") == job.pop(b"enqueued_at")
    assert jobs[0] == jobs[1]
    assert one.script.call(redis, one.names, [*one.head, "alone", DATA])[3] == 0
    assert redis.lrange(keys.rq_queue("default"), 0, -1) == [b"loads it", b"alone", b"batched"]
    assert redis.zrange(keys.runs, 0, -1) == redis.zrange(keys.runs_of("count"), 0, -1) == [b"loads it", b"alone", b"batched"]


@pytest.mark.parametrize("more", [{"due": "+1"}, {"cause": "e"}, {"pin": 1}, {"limit": 2.0}, {"once": "taskq:once:x"}])
def test_a_run_of_which_more_is_to_be_said_is_not_sent_alone(keys: Keys, more: dict[str, Any]) -> None:
    assert form_of_one(keys, Batch(task="count", queue="default", timeout=1.5, **more)) is None
