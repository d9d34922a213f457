"""Enqueueing by what was packed before: whatever goes wrong on the way, a run is made once, and by what the registry says now."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from redis.connection import Connection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from support import hands

from taskq.producer import Client
from taskq.registry import scripts
from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec
from taskq.registry.runtime.direct import Lines
from taskq.registry.settings import Settings

NUMBER = Spec(parameters=hands.schema(n={"type": "integer"}))
TEXT = Spec(parameters=hands.schema(text={"type": "string"}), queue="other")


@pytest.fixture(params=["own connection", "the caller's"])
def ready(request: pytest.FixtureRequest, redis: Redis, keys: Keys, settings: Settings) -> Iterator[Client]:
    """A client that has enqueued a run of ``count``, and so sends the next one directly."""
    hands.put_task(redis, keys, "count", spec=NUMBER)
    redis.script_load(scripts.load("enqueue_one").text)  # where it is not known yet, the first run is not sent directly
    with Client(redis if request.param == "the caller's" else None, settings=settings) as client:
        client.enqueue("count", n=0)
        yield client


@pytest.fixture
def exchanged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What direct exchanges return, as they are made."""
    seen: list[Any] = []
    exchange = Lines.exchange

    def noted(lines: Lines, packed: bytes) -> Any:
        seen.append(exchange(lines, packed))
        return seen[-1]

    monkeypatch.setattr(Lines, "exchange", noted)
    return seen


def params_of(redis: Redis, keys: Keys) -> list[Any]:
    return [claimed.params for claimed in hands.claim(redis, keys, 100)]


def test_the_next_run_of_a_task_is_sent_directly(ready: Client, redis: Redis, keys: Keys, exchanged: list[Any]) -> None:
    run = ready.enqueue("count", n=1)
    assert [reply[0] for reply in exchanged] == [b"ok"]
    assert run.document == run.refresh().document
    assert params_of(redis, keys) == [{"n": 0}, {"n": 1}]


def test_what_has_options_is_never_sent_as_what_has_none(ready: Client, redis: Redis) -> None:
    late, pinned, once = ready.options(in_="1h"), ready.options(pin=True), ready.options(key="a")
    for _ in range(2):
        assert late.enqueue("count", n=1).status == "scheduled"
        assert pinned.enqueue("count", n=1).version == 1
    assert once.enqueue("count", n=1).id == once.enqueue("count", n=1).id
    assert redis.llen("rq:queue:taskq.default") == 1 + 2 + 1


def test_a_connection_that_the_server_has_closed_costs_no_run(ready: Client, redis: Redis, keys: Keys) -> None:
    with Redis.from_url(ready.settings.redis_url) as other:  # type: ignore[arg-type]  # the fixture names it
        other.client_kill_filter(_type="normal", skipme=True)
    assert ready.enqueue("count", n=1).status == "queued"
    assert ready.enqueue("count", n=2).status == "queued"
    assert params_of(redis, keys) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_run_whose_answer_was_lost_is_made_once(ready: Client, redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = []

    def read(connection: Any, *args: Any, **options: Any) -> Any:
        reply = read_response(connection, *args, **options)
        if not lost:
            lost.append(reply)
            raise RedisConnectionError("the answer was lost")
        return reply

    read_response = Connection.read_response
    for kind in (Connection, UnixDomainSocketConnection):
        monkeypatch.setattr(kind, "read_response", read)
    run = ready.enqueue("count", n=1)
    assert lost[0][0] == b"ok"
    assert run.refresh().status == "queued"
    assert params_of(redis, keys) == [{"n": 0}, {"n": 1}]


def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next_one(
    ready: Client, redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        for kind in (Connection, UnixDomainSocketConnection):
            patch.setattr(kind, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ready.enqueue("count", n=1)
    runs = [ready.enqueue("count", n=n) for n in (2, 3)]
    assert [run.refresh().id for run in runs] == [run.id for run in runs]
    assert [params["n"] for params in params_of(redis, keys)][-2:] == [2, 3]


def test_a_server_that_has_forgotten_the_script_is_given_it_again(ready: Client, redis: Redis, keys: Keys) -> None:
    redis.script_flush()
    ready.enqueue("count", n=1)
    ready.enqueue("count", n=2)
    assert params_of(redis, keys) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_the_registry_of_now_decides_what_is_accepted(ready: Client, redis: Redis, keys: Keys) -> None:
    hands.put_task(redis, keys, "count", spec=TEXT)
    with pytest.raises(InvalidInput, match="parameter n"):
        ready.enqueue("count", n=1)
    run = ready.enqueue("count", text="now")
    again = ready.enqueue("count", text="again")
    assert redis.lrange("rq:queue:taskq.other", 0, -1) == [run.id.encode(), again.id.encode()]


def test_a_forked_child_does_not_write_on_its_parents_connection(redis: Redis, keys: Keys, settings: Settings) -> None:
    hands.put_task(redis, keys, "count", spec=NUMBER)
    with Client(settings=settings) as client:
        client.enqueue("count", n=0)
        process, own = os.getpid, client._link.lines._free[0]
        try:
            os.getpid = lambda: process() + 1  # as in a child: pytest's own process can't be forked with its threads
            assert client._link.lines.exchange(b"never sent") is None
        finally:
            os.getpid = process
        assert own._sock is not None
        client.enqueue("count", n=1)
    assert params_of(redis, keys) == [{"n": 0}, {"n": 1}]


def test_threads_that_share_a_client_each_get_their_own_answer(ready: Client, redis: Redis) -> None:
    made: list[str] = []

    def work(part: int) -> None:
        made.extend(run.id for run in [ready.enqueue("count", n=n) for n in range(part, part + 50)])

    threads = [threading.Thread(target=work, args=(part,)) for part in range(0, 400, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 400
    assert redis.llen("rq:queue:taskq.default") == 401
