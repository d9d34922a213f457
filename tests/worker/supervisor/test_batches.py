"""What the scripts of a batch do to each of its runs: by hand, without a worker."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from redis import Redis
from support.hands import WORKER, put_task
from support.waiting import until

from taskq.producer.client import Client
from taskq.registry import clock
from taskq.registry.keys import Keys
from taskq.registry.model.event import run_event
from taskq.registry.runtime.server import Server
from taskq.registry.scripts import load
from taskq.registry.settings import Settings
from taskq.worker.runs.recording import event_of, event_parts, finish_args, release_args
from taskq.worker.runs.run import Run, claimed_runs
from taskq.worker.runs.verdicts import Finish, Release
from taskq.worker.supervisor.leases import Leases


@pytest.fixture
def client(settings: Settings, redis: Redis, keys: Keys) -> Any:
    put_task(redis, keys, "fine")
    with Client(settings=settings) as made:
        yield made


def take(redis: Redis, keys: Keys, count: int = 1, worker: str = WORKER) -> list[Run]:
    """Claim as a worker does."""
    names = [keys.leases, keys.lease, keys.fence, keys.revision, keys.rq_queue("default")]
    runs = claimed_runs(load("claim").call(redis, names, [worker, 30_000, count, keys.rq]), ["default"], keys)
    for run in runs:
        run.version = 1
    return runs


def finish(redis: Redis, keys: Keys, settings: Settings, runs: list[Run], outcome: Finish | None = None) -> list[bytes]:
    items = [(run, outcome or Finish("finished", result=b"\xc1\x01\x01")) for run in runs]
    args = [keys.rq, keys.prefix, WORKER, *finish_args(items, settings)]
    return list(load("finish").call(redis, [keys.leases, keys.lease, keys.events], args))


def renew(redis: Redis, keys: Keys, *runs: Run, version: str = "1", event: str = "") -> list[bytes]:
    args: list[Any] = [keys.rq, 30_000]
    for run in runs:
        args += [run.id, run.token, version, event]
    return list(load("renew").call(redis, [keys.leases, keys.lease, keys.events], args))


def field(redis: Redis, keys: Keys, run: Run, name: str) -> str:
    return (redis.hget(keys.rq_job(run.id), name) or b"").decode()


def nothing_left(redis: Redis, keys: Keys, runs: list[Run]) -> None:
    assert redis.zcard(keys.leases) == redis.hlen(keys.lease) == redis.zcard(keys.rq_registry("wip", "default")) == 0
    assert not redis.keys(f"{keys.rq}:execution*")
    assert not redis.exists(f"{keys.rq_worker(WORKER)}:executions")
    for run in runs:
        assert redis.ttl(keys.rq_job(run.id)) > 0 and redis.ttl(keys.rq_results(run.id)) > 0


def test_more_runs_than_lua_hands_over_at_once_are_claimed_and_finished_in_one_call(
    settings: Settings, redis: Redis, keys: Keys, client: Client
) -> None:
    for _ in range(9):
        client.enqueue_many("fine", [{}] * 1000)

    runs = take(redis, keys, 9000)

    assert len({run.token for run in runs}) == redis.zcard(keys.leases) == redis.hlen(keys.lease) == 9000
    assert finish(redis, keys, settings, runs) == []
    nothing_left(redis, keys, runs[::1000])
    assert redis.zcard(keys.rq_registry("finished", "default")) == 9000


def test_tokens_grow_in_the_order_of_the_claim(redis: Redis, keys: Keys, client: Client) -> None:
    made = client.enqueue_many("fine", [{}] * 5)
    runs = take(redis, keys, 3) + take(redis, keys, 3)

    assert [run.id for run in runs] == [run.id for run in made]
    tokens = [int(run.token) for run in runs]
    assert tokens == sorted(set(tokens))


def test_a_claim_tells_what_is_not_usual_of_a_run(redis: Redis, keys: Keys, client: Client) -> None:
    client.enqueue("fine")
    client.options(version=1, timeout=2.5).enqueue("fine")
    plain, special = take(redis, keys, 2)

    assert (plain.attempt, plain.pin, plain.limit, plain.losses, plain.retries) == (1, None, None, 0, 0)
    assert (special.attempt, special.pin, special.limit) == (1, 1, 2.5)


def test_an_outcome_in_a_batch_is_refused_alone(settings: Settings, redis: Redis, keys: Keys, client: Client) -> None:
    client.enqueue_many("fine", [{}] * 3)
    first, second, third = take(redis, keys, 3)
    mine, second.token = second.token, "1" + second.token

    assert finish(redis, keys, settings, [first, second, third]) == [b"ok", b"stale", b"ok"]
    assert [field(redis, keys, run, "status") for run in (first, second, third)] == ["finished", "started", "finished"]
    assert redis.zcard(keys.leases) == 1
    second.token = mine
    assert finish(redis, keys, settings, [first, second]) == [b"done", b"ok"]
    nothing_left(redis, keys, [first, second, third])


def test_the_same_run_twice_in_a_batch_is_recorded_once(settings: Settings, redis: Redis, keys: Keys, client: Client) -> None:
    client.enqueue("fine")
    (run,) = take(redis, keys)

    assert finish(redis, keys, settings, [run, run]) == [b"ok", b"done"]
    assert redis.xlen(keys.rq_results(run.id)) == 1
    assert redis.zcard(keys.rq_registry("finished", "default")) == 1


def test_a_job_of_a_wrong_type_takes_no_other_outcome_along(settings: Settings, redis: Redis, keys: Keys, client: Client) -> None:
    client.enqueue_many("fine", [{}] * 3)
    first, spoilt, third = take(redis, keys, 3)
    redis.delete(keys.rq_job(spoilt.id))
    redis.set(keys.rq_job(spoilt.id), "spoilt")

    ok, refused, last = finish(redis, keys, settings, [first, spoilt, third])

    assert (ok, last) == (b"ok", b"ok") and b"WRONGTYPE" in refused
    assert redis.zcard(keys.leases) == redis.hlen(keys.lease) == 0


def test_a_deleted_job_ends_its_lease_and_is_not_made_again(settings: Settings, redis: Redis, keys: Keys, client: Client) -> None:
    client.enqueue_many("fine", [{}] * 2)
    gone, other = take(redis, keys, 2)
    redis.rpush(keys.attempts(gone.id), "an attempt")
    redis.delete(keys.rq_job(gone.id))

    assert finish(redis, keys, settings, [gone, other]) == []
    assert not redis.exists(keys.rq_job(gone.id), keys.rq_results(gone.id), keys.attempts(gone.id))
    nothing_left(redis, keys, [other])


def test_a_list_of_earlier_attempts_expires_with_its_run(settings: Settings, redis: Redis, keys: Keys, client: Client) -> None:
    client.enqueue_many("fine", [{}] * 2)
    runs = take(redis, keys, 2)
    redis.rpush(keys.attempts(runs[0].id), "an attempt")

    finish(redis, keys, settings, runs)

    assert redis.ttl(keys.attempts(runs[0].id)) == redis.ttl(keys.rq_job(runs[0].id)) > 0


def test_one_call_records_outcomes_and_claims(settings: Settings, redis: Redis, keys: Keys, client: Client) -> None:
    client.enqueue_many("fine", [{}] * 5)
    done = take(redis, keys, 2)
    stale = Run("nothing", "1", "default", keys.queue_name("default"), "fine", 1, b"", version=1)
    args = finish_args([(run, Finish("finished")) for run in (*done, stale)], settings)
    names = [keys.leases, keys.lease, keys.fence, keys.revision, keys.events, keys.rq_queue("other"), keys.rq_queue("default")]

    words, reply = load("cycle").call(redis, names, [keys.rq, keys.prefix, WORKER, 30_000, 2, *args])

    assert words == [b"ok", b"ok", b"stale"]
    assert int(reply[0]) == int(redis.get(keys.revision))
    runs = claimed_runs(reply, ["other", "default"], keys)
    assert [run.queue for run in runs] == ["default", "default"]
    assert redis.llen(keys.rq_queue("default")) == 1
    for run in runs:
        run.version = 1
    assert finish(redis, keys, settings, runs) == []
    nothing_left(redis, keys, [*done, *runs])


def test_an_execution_is_written_with_the_first_note_and_goes_with_the_outcome(
    settings: Settings, redis: Redis, keys: Keys, client: Client
) -> None:
    client.enqueue_many("fine", [{}] * 2)
    noted, short = take(redis, keys, 2)
    assert not redis.keys(f"{keys.rq}:execution*")

    assert renew(redis, keys, short, version="") == []
    assert not redis.keys(f"{keys.rq}:execution*")
    assert renew(redis, keys, noted) == renew(redis, keys, noted) == []
    execution = f"{noted.id}:{noted.token}"
    assert redis.hget(f"{keys.rq}:execution:{execution}", "worker_name") == WORKER.encode()
    assert redis.smembers(f"{keys.rq_worker(WORKER)}:executions") == {execution.encode()}
    assert field(redis, keys, noted, "version") == "1"
    noted.noted = True
    assert finish(redis, keys, settings, [noted, short]) == []
    nothing_left(redis, keys, [noted, short])


def test_a_note_that_comes_behind_the_outcome_writes_nothing(settings: Settings, redis: Redis, keys: Keys, client: Client) -> None:
    client.enqueue("fine")
    (run,) = take(redis, keys)
    run.noted = True
    finish(redis, keys, settings, [run])

    assert renew(redis, keys, run, event="{}") == [run.token.encode()]
    nothing_left(redis, keys, [run])


def test_of_what_is_held_only_what_is_in_progress_is_noted(settings: Settings, redis: Redis, keys: Keys, client: Client) -> None:
    """An outcome may be under way that knows of no note, and would leave behind what is written now."""
    client.enqueue_many("fine", [{}] * 2)
    ended, running = take(redis, keys, 2)
    ended.began = running.began = clock.monotonic()
    settings = settings.model_copy(update={"events": "all"})

    async def renewed() -> None:
        server = Server(settings, keys)
        leases = Leases(server, lambda: [ended, running], lambda: [running], lambda run: None)
        leases.start()
        await asyncio.to_thread(until, lambda: redis.hexists(keys.rq_job(running.id), "version"))
        await leases.stop()
        await server.close()

    redis.delete(keys.events)
    asyncio.run(renewed())

    assert redis.keys(f"{keys.rq}:execution:*") == [f"{keys.rq}:execution:{running.id}:{running.token}".encode()]
    assert (ended.noted, running.noted) == (False, True)
    assert finish(redis, keys, settings, [ended, running]) == []
    nothing_left(redis, keys, [ended, running])
    told = [json.loads(entry[b"event"]) for _, entry in redis.xrange(keys.events)]
    assert Counter((event["data"]["run"], event["type"].rsplit(".")[-1]) for event in told) == {
        (run.id, kind): 1 for run in (ended, running) for kind in ("started", "succeeded")
    }


@pytest.mark.parametrize("release", [Release("later", burned=True, outcome="error", delay=9.0), Release(outcome="released"), Release()])
def test_an_attempt_that_is_given_back_has_told_its_start(
    settings: Settings, redis: Redis, keys: Keys, client: Client, release: Release
) -> None:
    client.enqueue("fine")
    (run,) = take(redis, keys)
    run.began = 1.0 if release.outcome else 0.0
    redis.delete(keys.events)
    args = release_args(run, release, settings.model_copy(update={"events": "all"}), worker=WORKER, now=1.5)
    names = [keys.leases, keys.lease, keys.parked_tasks, keys.events, keys.scheduler_runs, keys.scheduler_wake]
    assert load("release").call(redis, names, [keys.rq, keys.prefix, *args]) == [b"ok"]

    told = [json.loads(entry[b"event"])["type"].rsplit(".")[-1] for _, entry in redis.xrange(keys.events)]
    assert told == ["started"] * bool(release.outcome) + ["retrying"] * release.burned


def test_what_an_earlier_attempt_left_goes_with_the_next_claim(settings: Settings, redis: Redis, keys: Keys, client: Client) -> None:
    client.enqueue("fine")
    (run,) = take(redis, keys)
    finish(redis, keys, settings, [run], Finish("failed", "error", "no such region"))
    assert field(redis, keys, run, "reason") == "error"
    redis.hset(keys.rq_job(run.id), "status", "queued")
    redis.rpush(keys.rq_queue("default"), run.id)

    (again,) = take(redis, keys)
    assert again.attempt == 2
    assert not redis.hexists(keys.rq_job(run.id), "reason") and not redis.hexists(keys.rq_job(run.id), "version")
    finish(redis, keys, settings, [again])
    assert field(redis, keys, run, "reason") == field(redis, keys, run, "error") == ""


def test_an_event_from_parts_is_the_event_of_the_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock.source, "wall", lambda: 1_700_000_000.0)
    run = Run("a" * 32, "7", "default", "taskq.default", "orders.sync", 2, b"", cause='"quoted" \u2028 ü', version=3)
    told = {"status": "failed", "reason": "error", "error": 'said "no"\n\\ ü'}

    head, tail = event_parts("failed", run, settings, **told)

    body = run_event("failed", namespace="taskq", task="orders.sync", run=run.id, version=3, attempt=2, cause=run.cause, **told)
    assert head + run.id + tail == body == event_of("failed", run, settings, **told)
    assert json.loads(body)["data"]["error"] == told["error"]


@pytest.mark.parametrize(("events", "types"), [("off", []), ("outcomes", ["succeeded"]), ("all", ["started", "succeeded"])])
def test_events_tell_of_a_run_as_the_setting_says(
    settings: Settings, redis: Redis, keys: Keys, client: Client, events: Any, types: list[str]
) -> None:
    client.enqueue("fine")
    (run,) = take(redis, keys)
    run.began = 1.0
    redis.delete(keys.events)
    finish(redis, keys, settings.model_copy(update={"events": events}), [run])

    told = [json.loads(entry[b"event"]) for _, entry in redis.xrange(keys.events)]
    assert [event["type"] for event in told] == [f"taskq.run.{kind}" for kind in types]
    assert all(event["data"] == {"run": run.id, "version": 1, "attempt": 1} | ({"status": kind} if kind != "started" else {})
               for event, kind in zip(told, types, strict=True))  # fmt: skip
