"""Enqueueing: what is written, what is refused, and that the registry's revision decides."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis
from support import hands

from taskq.producer import Client
from taskq.registry import effects
from taskq.registry.authoring.context import TaskContext
from taskq.registry.authoring.task import Task, task
from taskq.registry.effects import Effect
from taskq.registry.errors import FormatUnknown, InvalidInput, NotFound, ServerUnreachable, TaskRetired
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec
from taskq.registry.runtime.direct import Lines
from taskq.registry.settings import Settings

NUMBER = Spec(parameters=hands.schema(n={"type": "integer"}), timeout="1m30s")
TEXT = Spec(parameters=hands.schema(text={"type": "string"}), queue="other")


@task
def greet(ctx: TaskContext, name: str, loud: bool = False) -> str:
    return f"{ctx.run} {name} {loud}"


class ImportData(Task[..., int]):
    def execute(self, n: int = 0) -> int:
        return n


def written(redis: Redis) -> set[bytes]:
    found = {bytes(key) for key in redis.keys("*")}  # type: ignore[arg-type]  # this client does not decode
    return {key for key in found if key.startswith((b"rq:", b"taskq:runs", b"taskq:once", b"taskq:events"))}


def test_a_run_is_an_rq_job_on_our_queue(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "count", spec=NUMBER)
    run = client.enqueue("count", n=3)
    assert (run.task, run.status, run.version, run.trigger, run.deduplicated) == ("count", "queued", None, "client", False)
    assert server.lrange("rq:queue:taskq.default", 0, -1) == [run.id.encode()]
    assert server.smembers("rq:queues") == {b"rq:queue:taskq.default"}
    job = server.hgetall(f"rq:job:{run.id}")
    assert (job[b"description"], job[b"timeout"], job[b"status"]) == (b"count", b"90", b"queued")
    (claimed,) = hands.claim(server, keys)
    assert (claimed.run, claimed.task, claimed.params, claimed.pin, claimed.limit) == (run.id, "count", {"n": 3}, "", "")


def test_what_enqueue_returns_is_what_a_refresh_reads(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "count", spec=NUMBER)
    run = client.enqueue("count", n=3)
    returned = dict(run.document)
    assert run.refresh().document == returned
    assert client.run(run.id).document == returned


def test_an_enqueue_is_one_round_trip_once_the_task_is_known(
    client: Client, server: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.put_task(server, keys, "count", spec=NUMBER)
    client.enqueue("count", n=1)
    seen: list[Effect | bytes] = []
    perform, exchange = effects._perform, Lines.exchange

    def noted(effect: Effect, redis: Redis) -> object:
        seen.append(effect)
        return perform(effect, redis)

    def exchanged(lines: Lines, packed: bytes) -> object:
        reply = exchange(lines, packed)
        if reply is not None:
            seen.append(packed)
        return reply

    monkeypatch.setattr(effects, "_perform", noted)
    monkeypatch.setattr(Lines, "exchange", exchanged)
    client.enqueue("count", n=2)
    assert len(seen) == 1


@pytest.mark.parametrize("params", [{"n": "3"}, {"m": 1}, {"n": 1.5}, {"n": float("nan")}, {"n": 2**64}])
def test_parameters_that_do_not_fit_are_refused_and_nothing_is_written(
    client: Client, server: Redis, keys: Keys, params: dict[str, object]
) -> None:
    hands.put_task(server, keys, "count", spec=NUMBER)
    with pytest.raises(InvalidInput):
        client.enqueue("count", **params)
    with pytest.raises(InvalidInput):
        client.enqueue_many("count", [{"n": 1}, params])
    assert written(server) == set()


def test_parameters_that_are_too_large_are_refused_with_the_limit(server: Redis, keys: Keys, settings: Settings) -> None:
    hands.put_task(server, keys, "say", spec=TEXT)
    strict = settings.model_copy(update={"max_params": 1000})
    with Client(server, settings=strict) as client, pytest.raises(InvalidInput, match="allowed are 1,000"):
        client.enqueue("say", text="x" * 1000)
    assert written(server) == set()


@pytest.mark.parametrize("name", ["", "x" * 129, "a\0b", "../..", "a:b", "{x}", "a*", "Count", 7, None])
def test_a_name_that_is_none_never_reaches_a_key(client: Client, server: Redis, name: str) -> None:
    with pytest.raises(InvalidInput, match="not a valid name"):
        client.enqueue(name)
    assert server.keys("*") == []


def test_an_unknown_or_retired_task_accepts_no_runs_and_a_paused_one_does(client: Client, server: Redis, keys: Keys) -> None:
    with pytest.raises(NotFound, match="no task count"):
        client.enqueue("count")
    hands.put_task(server, keys, "count")
    client.enqueue("count")
    hands.put_task(server, keys, "count", state="retired")
    with pytest.raises(TaskRetired):
        client.enqueue("count")
    hands.put_task(server, keys, "count", state="paused")
    assert client.enqueue("count").status == "queued"


def test_a_record_of_another_release_is_not_guessed_at(client: Client, server: Redis, keys: Keys) -> None:
    server.hset(keys.registry, "count", b"\xc1\x63junk")
    with pytest.raises(FormatUnknown):
        client.enqueue("count")


def test_a_change_of_the_task_is_seen_by_the_next_enqueue(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "job", spec=NUMBER)
    client.enqueue("job", n=1)
    # When the next version takes other parameters and another queue
    hands.put_task(server, keys, "job", version=2, spec=TEXT)
    # Then what the old one would refuse is accepted, and the reverse
    run = client.enqueue("job", text="hello")
    assert server.lrange(keys.rq_queue("other"), 0, -1) == [run.id.encode()]
    hands.put_task(server, keys, "job", version=3, spec=NUMBER)
    hands.put_task(server, keys, "job", version=4, spec=TEXT)
    with pytest.raises(InvalidInput):
        client.enqueue("job", n=1)


def test_an_outdated_spec_that_would_accept_does_not_decide(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "job", spec=NUMBER)
    client.enqueue("job", n=1)
    before = written(server)
    hands.put_task(server, keys, "job", version=2, spec=TEXT)
    with pytest.raises(InvalidInput):
        client.enqueue("job", n=1)
    assert written(server) == before


def test_a_change_of_another_task_costs_no_validator(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "job", spec=NUMBER)
    client.enqueue("job", n=1)
    known = client._link.core.catalog.known("job", None)
    hands.put_task(server, keys, "unrelated")
    client.enqueue("job", n=1)
    again = client._link.core.catalog.known("job", None)
    assert known and again
    assert again.validator is known.validator
    assert again.revision != known.revision


def test_many_runs_keep_their_order(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "count", spec=NUMBER)
    runs = client.enqueue_many("count", [{"n": n} for n in range(1234)])
    assert server.lrange(keys.rq_queue("default"), 0, -1) == [run.id.encode() for run in runs]
    assert [claimed.params["n"] for claimed in hands.claim(server, keys, 3)] == [0, 1, 2]
    assert runs[1200].refresh().status == "queued"
    assert client.enqueue_many("count", []) == []


def test_many_runs_survive_a_server_that_forgot_the_script(
    client: Client, server: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.put_task(server, keys, "count", spec=NUMBER)
    perform = effects._perform

    def forgetful(effect: Effect, redis: Redis) -> object:
        if isinstance(effect, effects.Pipeline) and effect.commands[0].name == "EVALSHA":
            redis.script_flush()
        return perform(effect, redis)

    monkeypatch.setattr(effects, "_perform", forgetful)
    runs = client.enqueue_many("count", [{"n": n} for n in range(1500)])
    assert len({run.id for run in runs}) == server.llen(keys.rq_queue("default")) == 1500


def test_a_key_gives_one_run(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "count", spec=NUMBER)
    once = client.options(key="order 7 — ü")
    first, second = once.enqueue("count", n=1), once.enqueue("count", n=1)
    assert (first.id, first.deduplicated, second.deduplicated) == (second.id, False, True)
    assert server.llen(keys.rq_queue("default")) == 1
    # When the run has ended, and when its record is gone, the key still stands for it
    hands.finish(server, keys, hands.claim(server, keys)[0], 5)
    assert (once.enqueue("count", n=1).result, client.options(key="other").enqueue("count", n=1).deduplicated) == (5, False)
    hands.age(server, keys, first.id)
    late = once.enqueue("count", n=1)
    assert (late.id, late.status, late.deduplicated) == (first.id, None, True)


def test_a_version_or_the_stable_one_can_be_kept(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "job", version=1, spec=NUMBER)
    hands.put_task(server, keys, "job", version=2, spec=TEXT)
    old = client.options(version=1, timeout="250ms").enqueue("job", n=1)
    pinned = client.options(pin=True).enqueue("job", text="x")
    assert (old.version, pinned.version, old.refresh().version) == (1, 2, 1)
    (claimed,) = hands.claim(server, keys)
    assert (claimed.pin, claimed.limit) == ("1", "0.25")
    with pytest.raises(NotFound, match="no version 9"):
        client.options(version=9).enqueue("job")


@pytest.mark.parametrize(
    "options", [{"version": 0}, {"version": True}, {"version": "1"}, {"timeout": "soon"}, {"timeout": 0}, {"timeout": -1}, {"key": ""}]
)
def test_an_option_that_is_not_allowed_is_refused(client: Client, options: Any) -> None:
    with pytest.raises(InvalidInput, match=next(iter(options))):
        client.options(**options)


def test_an_option_that_there_is_none_of_is_an_error(client: Client) -> None:
    with pytest.raises(TypeError, match="no option priority"):
        client.options(priority=1)  # type: ignore[call-arg]  # that is the test
    with pytest.raises(InvalidInput, match="one run"):
        client.options(key="k").enqueue_many("count", [{}])


def test_a_decorated_function_and_a_class_name_their_task(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "greet", spec=Spec(parameters=hands.schema(name={"type": "string"}, loud={"type": "boolean"})))
    hands.put_task(server, keys, "import_data", spec=NUMBER)
    client.enqueue(greet, "Ada", loud=True)
    client.enqueue(ImportData, n=1)
    assert [claimed.params for claimed in hands.claim(server, keys, 2)] == [{"name": "Ada", "loud": True}, {"n": 1}]
    with pytest.raises(InvalidInput, match="by name, not by position"):
        client.enqueue("greet", "Ada")  # type: ignore[call-overload]  # that is the test


def test_queued_events_are_published_where_all_are_wanted(server: Redis, keys: Keys, settings: Settings) -> None:
    hands.put_task(server, keys, "count")
    with Client(server, settings=settings) as quiet:
        quiet.enqueue("count")
    assert server.xlen(keys.events) == 0
    with Client(server, settings=settings.model_copy(update={"events": "all"})) as client:
        run = client.enqueue("count")
    entries: Any = server.xrange(keys.events)
    ((_, fields),) = entries
    assert b'"type":"taskq.run.queued"' in fields[b"event"]
    assert run.id.encode() in fields[b"event"]


def test_a_connection_that_decodes_replies_is_refused(server: Redis, settings: Settings) -> None:
    with Redis(decode_responses=True) as decoding, pytest.raises(InvalidInput, match="decode_responses"):
        Client(decoding, settings=settings)


def test_a_server_that_is_away_is_named_and_no_success_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    away = tmp_path_factory.mktemp("x") / "none.sock"
    with Client(settings=Settings(redis_url=f"unix://{away}")) as client, pytest.raises(ServerUnreachable, match="can't be reached"):
        client.enqueue("count")
