"""Runs that failed or were cancelled are queued once more; and where runs of a status are found."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis
from support import hands

from taskq.registry import clock
from taskq.registry.effects import Call, Effect, Op, run_sync
from taskq.registry.errors import Conflict, FormatUnknown, InvalidInput, NotFound, TaskRetired
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec
from taskq.registry.runs.cancellation import cancel_run
from taskq.registry.runs.creation import Batch, NewRun, encode, enqueue_call, form_of
from taskq.registry.runs.document import RunDocument, read_run
from taskq.registry.runs.index import ended_runs, list_runs
from taskq.registry.runs.retries import retry_run, retry_runs
from taskq.registry.settings import Settings


@pytest.fixture
def job(redis: Redis, keys: Keys) -> str:
    hands.put_task(redis, keys, "job")
    return "job"


def enqueue(redis: Redis, keys: Keys, *runs: str, task: str = "job", queue: str = "default") -> None:
    for at in range(0, len(runs), 500):
        new = [NewRun(run, encode(task, {}, 100)) for run in runs[at : at + 500]]
        call = enqueue_call(form_of(keys, Batch(task=task, queue=queue, timeout=5)), new)
        call.script.call(redis, call.keys, call.args)


def fail(redis: Redis, keys: Keys, count: int = 1, *, reason: str = "error", queue: str = "default") -> None:
    for claimed in hands.claim(redis, keys, count, queue):
        assert hands.finish(redis, keys, claimed, reason=reason, error="ValueError: no", traceback="T", queue=queue) == "ok"


def single(effect: Effect) -> Op[Any]:
    return (yield effect)


def rest(op: Op[Any], effect: Effect) -> Op[Any]:
    """An operation from this effect on."""
    try:
        while True:
            effect = op.send((yield effect))
    except StopIteration as stop:
        return stop.value


def read(redis: Redis, keys: Keys, run: str) -> RunDocument:
    return run_sync(read_run(keys, run), redis)


def test_a_failed_run_waits_again_with_the_attempts_that_it_had(redis: Redis, keys: Keys, settings: Settings, job: str) -> None:
    enqueue(redis, keys, "a")
    fail(redis, keys)
    assert redis.ttl(keys.rq_job("a")) > 0
    redis.hset(keys.rq_job("a"), mapping={"losses": 3, "retries": 2})
    run_sync(retry_run(keys, settings, "a"), redis)

    document = read(redis, keys, "a")
    assert (document["status"], document["reason"], document["error"], document["ended_at"]) == ("queued", None, None, None)
    (attempt,) = document["attempts"]
    assert (attempt["attempt"], attempt["outcome"], attempt["error"]) == (1, "error", "ValueError: no")
    assert (attempt["worker"], attempt["version"]) == (hands.WORKER, 1)
    assert attempt["started_at"] <= attempt["ended_at"]
    assert redis.hmget(keys.rq_job("a"), "losses", "retries") == [None, None]
    # Nothing of it expires any more, and RQ counts it as queued alone
    assert redis.ttl(keys.rq_job("a")) == redis.ttl(keys.attempts("a")) == -1
    assert redis.zcard(keys.rq_registry("failed", "default")) == 0
    assert redis.lrange(keys.rq_queue("default"), 0, -1) == [b"a"]
    # And its attempts go on
    (claimed,) = hands.claim(redis, keys)
    assert claimed.attempt == 2
    hands.finish(redis, keys, claimed, 7)
    document = read(redis, keys, "a")
    assert (document["status"], document["result"], [item["outcome"] for item in document["attempts"]]) == (
        "succeeded",
        7,
        ["error", "succeeded"],
    )
    assert 0 < redis.ttl(keys.attempts("a")) <= 60


def test_a_run_that_was_cancelled_before_it_began_has_no_attempt(redis: Redis, keys: Keys, settings: Settings, job: str) -> None:
    enqueue(redis, keys, "a")
    run_sync(cancel_run(keys, settings, "a"), redis)
    run_sync(retry_run(keys, settings, "a"), redis)
    document = read(redis, keys, "a")
    assert (document["status"], document["attempts"], document["attempt"]) == ("queued", [], 0)
    assert redis.zcard(keys.rq_registry("canceled", "default")) == 0


def test_only_what_has_failed_or_was_cancelled_can_be_retried(redis: Redis, keys: Keys, settings: Settings, job: str) -> None:
    enqueue(redis, keys, "done", "runs", "waits")
    done, _ = hands.claim(redis, keys, 2)
    hands.finish(redis, keys, done)
    before = redis.hgetall(keys.rq_job("done"))
    for run, state in (("done", "has ended: succeeded"), ("runs", "is running"), ("waits", "is queued")):
        with pytest.raises(Conflict, match=f"run {run} {state}; only a run that failed or was cancelled can be retried"):
            run_sync(retry_run(keys, settings, run), redis)
    with pytest.raises(NotFound, match="there is no run none"):
        run_sync(retry_run(keys, settings, "none"), redis)
    with pytest.raises(InvalidInput):
        run_sync(retry_run(keys, settings, "no id"), redis)
    assert redis.hgetall(keys.rq_job("done")) == before


def until_the_call(op: Op[Any], redis: Redis) -> Effect:
    """Drive an operation up to its call of the script."""
    effect = next(op)
    while not isinstance(effect, Call):
        effect = op.send(run_sync(single(effect), redis))
    return effect


def test_an_end_is_retried_once_whoever_asks_at_the_same_time(redis: Redis, keys: Keys, settings: Settings, job: str) -> None:
    enqueue(redis, keys, "a")
    fail(redis, keys)
    # Given one who has read how the run ended, and is slow
    slow = retry_runs(keys, settings, ["a"])
    effect = until_the_call(slow, redis)
    # When another one is faster, and the run has even failed again
    assert [item.error for item in run_sync(retry_runs(keys, settings, ["a", "a"]), redis)] == [None]
    fail(redis, keys)
    # Then the end that the slow one means has been retried, and the later one is left alone
    (answer,) = run_sync(rest(slow, effect), redis)
    assert answer.error is None
    assert read(redis, keys, "a")["status"] == "failed"
    assert redis.llen(keys.rq_queue("default")) == 0


def test_a_retry_whose_reply_was_lost_can_be_sent_again(redis: Redis, keys: Keys, settings: Settings, job: str) -> None:
    enqueue(redis, keys, "a")
    fail(redis, keys)
    op = retry_runs(keys, settings, ["a"])
    effect = until_the_call(op, redis)
    run_sync(single(effect), redis)
    (answer,) = run_sync(rest(op, effect), redis)
    assert answer.error is None
    assert redis.lrange(keys.rq_queue("default"), 0, -1) == [b"a"]
    assert len(read(redis, keys, "a")["attempts"]) == 1


def test_a_change_of_the_registry_in_between_is_read(redis: Redis, keys: Keys, settings: Settings, job: str) -> None:
    enqueue(redis, keys, "a")
    fail(redis, keys)
    slow = retry_runs(keys, settings, ["a"])
    effect = until_the_call(slow, redis)
    hands.put_task(redis, keys, "job", state="retired")
    (answer,) = run_sync(rest(slow, effect), redis)
    assert isinstance(answer.error, TaskRetired)
    assert read(redis, keys, "a")["status"] == "failed"


def test_a_retired_or_forgotten_task_takes_no_run_back(redis: Redis, keys: Keys, settings: Settings, job: str) -> None:
    enqueue(redis, keys, "a")
    fail(redis, keys)
    hands.put_task(redis, keys, "job", state="retired")
    with pytest.raises(TaskRetired, match="task job is retired"):
        run_sync(retry_run(keys, settings, "a"), redis)
    redis.hdel(keys.registry, "job")
    with pytest.raises(NotFound, match="there is no task job"):
        run_sync(retry_run(keys, settings, "a"), redis)
    assert read(redis, keys, "a")["status"] == "failed"


def test_a_retried_run_waits_in_the_queue_that_its_task_has_now(redis: Redis, keys: Keys, settings: Settings, job: str) -> None:
    enqueue(redis, keys, "a")
    fail(redis, keys)
    hands.put_task(redis, keys, "job", version=2, spec=Spec(queue="other"))
    run_sync(retry_run(keys, settings, "a"), redis)
    assert (redis.llen(keys.rq_queue("default")), redis.lrange(keys.rq_queue("other"), 0, -1)) == (0, [b"a"])
    assert redis.zcard(keys.rq_registry("failed", "default")) == 0
    assert keys.rq_queue("other").encode() in redis.smembers(keys.rq_queues)
    assert redis.zscore(keys.runs_of("job"), "a") is not None
    assert hands.claim(redis, keys, queue="other")[0].run == "a"


def test_some_of_many_are_retried_and_the_others_told_apart(redis: Redis, keys: Keys, settings: Settings, job: str) -> None:
    enqueue(redis, keys, "a", "b", "c")
    fail(redis, keys, 2)
    answers = run_sync(retry_runs(keys, settings, ["a", "none", "c", "b"]), redis)
    assert [(item.run, type(item.error)) for item in answers] == [("a", type(None)), ("none", NotFound), ("c", Conflict), ("b", type(None))]
    assert redis.lrange(keys.rq_queue("default"), 0, -1) == [b"c", b"a", b"b"]


@pytest.mark.parametrize(("field", "junk"), [("attempt", "many"), ("started_at", "yesterday"), ("ended_at", "x")])
def test_one_that_somebody_has_spoiled_keeps_no_other_from_being_retried(
    redis: Redis, keys: Keys, settings: Settings, job: str, field: str, junk: str
) -> None:
    enqueue(redis, keys, "a", "b")
    fail(redis, keys, 2)
    redis.hset(keys.rq_job("a"), field, junk)
    answers = run_sync(retry_runs(keys, settings, ["a", "b"]), redis)
    assert [type(item.error) for item in answers] == [FormatUnknown, type(None)]


# -- where they are found ------------------------------------------------------------------------------------
def test_failed_runs_are_found_whatever_was_enqueued_since(redis: Redis, keys: Keys, job: str) -> None:
    # Given one that failed, and an index that has lost it to newer ones
    enqueue(redis, keys, "old")
    fail(redis, keys)
    enqueue(redis, keys, *(f"n{number}" for number in range(600)))
    redis.zrem(keys.runs, "old")
    redis.zrem(keys.runs_of("job"), "old")
    commands = redis.info("commandstats")["cmdstat_hmget"]["calls"]
    # Then it is listed, and the others are not looked at
    (document,) = run_sync(list_runs(keys, status="failed"), redis)
    assert (document["run"], document["reason"], document["error"]) == ("old", "error", "T")
    assert redis.info("commandstats")["cmdstat_hmget"]["calls"] - commands <= 2
    assert run_sync(list_runs(keys, task="job", status="failed"), redis) == [document]
    assert run_sync(list_runs(keys, task="other", status="failed"), redis) == []


def test_those_that_ended_last_come_first_over_all_queues(redis: Redis, keys: Keys, job: str) -> None:
    enqueue(redis, keys, "a", "b")
    enqueue(redis, keys, "c", queue="other")
    fail(redis, keys)
    fail(redis, keys, queue="other")
    fail(redis, keys, reason="timeout")
    assert run_sync(ended_runs(keys, "failed"), redis) == ["b", "c", "a"]
    assert run_sync(ended_runs(keys, "failed", limit=2), redis) == ["b", "c"]
    assert run_sync(ended_runs(keys, "failed", reason="timeout"), redis) == ["b"]
    assert run_sync(ended_runs(keys, "failed", task="none"), redis) == []
    assert run_sync(ended_runs(keys, "cancelled"), redis) == []
    with pytest.raises(InvalidInput):
        run_sync(ended_runs(keys, "succeeded"), redis)


def test_runs_can_be_chosen_by_when_they_ended(redis: Redis, keys: Keys, job: str) -> None:
    enqueue(redis, keys, "old", "new")
    fail(redis, keys, 2)
    redis.hset(keys.rq_job("old"), "ended_at", clock.rq_format(redis.time()[0] - 3600))
    assert run_sync(ended_runs(keys, "failed", since=1800), redis) == ["new"]
    assert run_sync(ended_runs(keys, "failed", since=7200), redis) == ["new", "old"]
