"""Commands that are asked together on a kept connection: their replies, errors among them, and what an interruption leaves."""

from __future__ import annotations

import asyncio

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskq.registry.connect import connect_worker
from taskq.registry.runtime import asking
from taskq.registry.runtime.asking import Asker
from taskq.registry.settings import Settings


def test_an_error_of_the_server_is_the_reply_of_its_command_alone(redis: Redis, settings: Settings) -> None:
    redis.set("text", "a")

    async def ask() -> None:
        async with connect_worker(settings) as client:
            asker = Asker(client)
            first, second, third = await asker.ask(("GET", "text"), ("LPOP", "text"), ("STRLEN", "text"))
            assert (first, type(second), third) == (b"a", ResponseError, 1)
            assert await asker.ask(("GET", "text")) == [b"a"]

    asyncio.run(ask())


def test_replies_of_a_question_that_was_given_up_are_not_those_of_the_next(redis: Redis, settings: Settings) -> None:
    redis.set("text", "a")

    async def ask() -> None:
        async with connect_worker(settings, blocking=5.0) as client:
            asker = Asker(client)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await asker.ask(("BLMOVE", "none", "none", "LEFT", "LEFT", 5))
            assert await asker.ask(("GET", "text")) == [b"a"]

    asyncio.run(ask())


def test_a_connection_that_the_server_has_closed_is_told_and_the_next_question_has_another(redis: Redis, settings: Settings) -> None:
    async def ask() -> None:
        async with connect_worker(settings) as client:
            asker = Asker(client)
            await asker.ask(("PING",))
            redis.client_kill_filter(_type="normal", skipme=True)
            with pytest.raises(RedisConnectionError):
                await asker.ask(("PING",))
            assert len(await asker.ask(("PING",))) == 1

    asyncio.run(ask())


def test_a_connection_that_was_idle_for_long_is_looked_at_first(redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FRESH", -1.0)

    async def ask() -> None:
        async with connect_worker(settings) as client:
            asker = Asker(client)
            await asker.ask(("PING",))
            redis.client_kill_filter(_type="normal", skipme=True)
            await client.ping()  # meanwhile the loop hears of it
            assert len(await asker.ask(("PING",))) == 1

    asyncio.run(ask())


def test_replies_are_handed_over_before_who_asked_goes_on(redis: Redis, settings: Settings) -> None:
    redis.set("text", "a")
    order: list[object] = []

    async def ask() -> None:
        async with connect_worker(settings) as client:
            asker = Asker(client, order.append)
            order.append(await asker.ask(("GET", "text"), ("STRLEN", "text")))

    asyncio.run(ask())
    assert order == [[b"a", 1], [b"a", 1]]


def test_what_goes_wrong_with_the_replies_is_raised_where_they_were_asked_for(redis: Redis, settings: Settings) -> None:
    redis.set("text", "a")
    faults = [KeyError("once")]

    def answered(_replies: list[object]) -> None:
        if faults:
            raise faults.pop()

    async def ask() -> None:
        async with connect_worker(settings) as client:
            asker = Asker(client, answered)
            with pytest.raises(KeyError):
                await asker.ask(("GET", "text"))
            assert await asker.ask(("GET", "text")) == [b"a"]

    asyncio.run(ask())


def test_a_server_that_does_not_answer_is_given_up(redis: Redis, settings: Settings) -> None:
    async def ask() -> None:
        async with connect_worker(settings.model_copy(update={"socket_timeout": 0.2})) as client:
            asker = Asker(client)
            with pytest.raises(RedisTimeoutError):
                await asker.ask(("BLPOP", "none", 5))
            assert len(await asker.ask(("PING",))) == 1

    asyncio.run(ask())


def test_a_connection_goes_back_to_its_client_as_it_was(redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> None:
        async with connect_worker(settings) as client:
            asker = Asker(client)
            (number,) = await asker.ask(("CLIENT", "ID"))
            monkeypatch.setattr(asking, "_FRESH", -1.0)
            assert await asker.ask(("CLIENT", "ID")) == [number]  # given back, looked at and taken again
            await asker._drop(disconnect=False)
            assert await client.client_id() == number  # read by redis-py

    asyncio.run(ask())
