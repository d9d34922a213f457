"""Commands that are asked together on a kept connection: their replies, errors among them, and what an interruption leaves."""

from __future__ import annotations

import asyncio

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

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
