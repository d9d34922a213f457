"""The status document through the life of a run, whoever wrote it."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode

import pytest
from redis import Redis
from support import hands

from taskq.registry import codec
from taskq.registry.effects import run_sync
from taskq.registry.errors import FormatUnknown, InvalidInput, NotFound
from taskq.registry.keys import Keys
from taskq.registry.runs.creation import Batch, NewRun, encode, enqueue_call, form_of, new_ids
from taskq.registry.runs.document import RunDocument, read_run, read_runs

TRACE = "Traceback (most recent call last):\n  …\nValueError: boom"


@pytest.fixture
def run(redis: Redis, keys: Keys) -> str:
    """A run of task ``count`` that waits."""
    form = form_of(keys, Batch(task="count", queue="default", timeout=1.5, cause="event-1"))
    call = enqueue_call(form, [NewRun("r1", encode("count", {}, 1000))])
    assert call.script.call(redis, call.keys, call.args)[0] == b"ok"
    return "r1"


def read(redis: Redis, keys: Keys, run: str) -> RunDocument:
    document = run_sync(read_run(keys, run), redis)
    assert json.loads(json.dumps(document)) == document
    return document


def test_a_queued_run_has_no_attempt(redis: Redis, keys: Keys, run: str) -> None:
    document = read(redis, keys, run)
    queued_at = document.pop("queued_at")  # type: ignore[misc]  # compared apart
    assert str(queued_at).endswith("+00:00")
    assert document == {
        "run": "r1", "task": "count", "version": None, "status": "queued", "reason": None, "result": None, "error": None, "attempt": 0,
        "attempts": [], "worker": None, "trigger": "client", "cause": "event-1", "due_at": None, "started_at": None, "ended_at": None,
    }  # fmt: skip


def test_a_running_run_shows_the_attempt_in_progress(redis: Redis, keys: Keys, run: str) -> None:
    hands.claim(redis, keys)
    document = read(redis, keys, run)
    assert (document["status"], document["attempt"], document["worker"], document["ended_at"]) == ("running", 1, hands.WORKER, None)
    (attempt,) = document["attempts"]
    assert (attempt["outcome"], attempt["started_at"], attempt["ended_at"]) == ("running", document["started_at"], None)


def test_a_succeeded_run_shows_its_result(redis: Redis, keys: Keys, run: str) -> None:
    hands.finish(redis, keys, hands.claim(redis, keys)[0], {"sum": [1, None, "ü"]}, version=7)
    document = read(redis, keys, run)
    assert (document["status"], document["version"], document["error"]) == ("succeeded", 7, None)
    assert document["result"] == {"sum": [1, None, "ü"]}
    (attempt,) = document["attempts"]
    assert (attempt["outcome"], attempt["version"], attempt["ended_at"]) == ("succeeded", 7, document["ended_at"])


def test_a_failed_run_shows_reason_and_traceback(redis: Redis, keys: Keys, run: str) -> None:
    hands.finish(redis, keys, hands.claim(redis, keys)[0], reason="timeout", error="ValueError: boom", traceback=TRACE)
    document = read(redis, keys, run)
    assert (document["status"], document["reason"], document["error"], document["result"]) == ("failed", "timeout", TRACE, None)
    (attempt,) = document["attempts"]
    assert (attempt["outcome"], attempt["error"]) == ("timeout", "ValueError: boom")


def test_earlier_attempts_come_first(redis: Redis, keys: Keys, run: str) -> None:
    record = {"attempt": 1, "worker": "lost", "version": 1, "outcome": "worker_lost", "error": "gone", "started_at": 1.5, "ended_at": 2.5}
    hands.release(redis, keys, hands.claim(redis, keys)[0], counts=True, record=record)
    waiting = read(redis, keys, run)
    assert (waiting["status"], waiting["attempt"], waiting["worker"], len(waiting["attempts"])) == ("queued", 1, None, 1)
    hands.finish(redis, keys, hands.claim(redis, keys)[0], 1)
    first, second = read(redis, keys, run)["attempts"]
    assert (first["outcome"], first["worker"], first["ended_at"]) == ("worker_lost", "lost", "1970-01-01T00:00:02.500+00:00")
    assert (second["attempt"], second["outcome"]) == (2, "succeeded")


def test_what_failed_before_is_no_error_of_a_run_that_waits_again(redis: Redis, keys: Keys, run: str) -> None:
    hands.finish(redis, keys, hands.claim(redis, keys)[0], reason="error", error="x", traceback=TRACE)
    redis.hset(keys.rq_job(run), mapping={"status": "queued", "started_at": ""})
    redis.hdel(keys.rq_job(run), "reason", "error")
    document = read(redis, keys, run)
    assert (document["status"], document["error"], document["reason"], document["ended_at"]) == ("queued", None, None, None)


def test_a_damaged_result_is_named_and_does_not_hide_the_run(redis: Redis, keys: Keys, run: str) -> None:
    hands.finish(redis, keys, hands.claim(redis, keys)[0], 1)
    redis.xadd(keys.rq_results(run), {"type": 1, "return_value": "AAAA"})
    document = read(redis, keys, run)
    assert (document["status"], document["result"]) == ("succeeded", None)
    assert "can't be read" in (document["error"] or "")


def test_a_run_that_is_gone_or_none_of_ours_is_not_found(redis: Redis, keys: Keys, run: str) -> None:
    redis.hset(keys.rq_job("foreign"), mapping={"status": "queued", "data": "x"})
    for missing in ("nobody", "foreign"):
        with pytest.raises(NotFound):
            read(redis, keys, missing)
    with pytest.raises(InvalidInput):
        read(redis, keys, "a:b")
    found = run_sync(read_runs(keys, ["nobody", run]), redis)
    assert found[0] is None
    assert isinstance(found[1], dict)


def test_a_run_of_another_release_is_not_guessed_at(redis: Redis, keys: Keys, run: str) -> None:
    redis.hset(keys.rq_job(run), "taskq", "2")
    with pytest.raises(FormatUnknown, match="format 2"):
        read(redis, keys, run)


def test_an_attempt_of_another_release_is_not_guessed_at(redis: Redis, keys: Keys, run: str) -> None:
    redis.rpush(keys.attempts(run), b"\xc1\x09\x80")
    with pytest.raises(FormatUnknown):
        read(redis, keys, run)


def test_ids_are_fresh_and_fit_rq(keys: Keys) -> None:
    ids = new_ids(1000)
    assert len(set(ids)) == 1000
    assert {len(run) for run in ids} == {24}
    assert new_ids(0) == []
    assert codec.loads(codec.dumps(ids)) == ids


@pytest.mark.parametrize(
    ("field", "junk"),
    [
        ("attempt", "many"),
        ("version", "v1"),
        ("started_at", "yesterday"),
        ("enqueued_at", "2026-13-01T00:00:00Z"),
        ("due", "1e999"),
        ("due", "9" * 30),
    ],
)
def test_a_record_that_somebody_has_spoiled_is_told_apart_from_the_others(
    redis: Redis, keys: Keys, run: str, field: str, junk: str
) -> None:
    redis.hset(keys.rq_job(run), field, junk)
    (found,) = run_sync(read_runs(keys, [run]), redis)
    assert isinstance(found, FormatUnknown)
    assert "run r1 is damaged" in found.message


@pytest.mark.parametrize("record", [7, [1], {"started_at": "x"}, {"started_at": 1e300}])
def test_so_is_one_with_a_spoiled_attempt(redis: Redis, keys: Keys, run: str, record: object) -> None:
    redis.rpush(keys.attempts(run), codec.dumps(record))
    (found,) = run_sync(read_runs(keys, [run]), redis)
    assert isinstance(found, FormatUnknown)


def test_a_spoiled_traceback_is_said_to_be_one_and_a_huge_one_is_cut(redis: Redis, keys: Keys, run: str) -> None:
    stream = keys.rq_results(run)
    redis.hset(keys.rq_job(run), mapping={"status": "failed", "ended_at": "2026-11-22T10:00:00Z"})
    for junk in ("!", "AAAA", b64encode(b"junk").decode()):
        redis.xadd(stream, {"type": "2", "exc_string": junk})
        assert "can't be read" in str(read(redis, keys, run)["error"])
    redis.xadd(stream, {"type": "2", "exc_string": b64encode(zlib.compress(b"x" * 50_000_000))})
    assert len(str(read(redis, keys, run)["error"])) < 5_000_000
