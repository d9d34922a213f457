"""The feed: gaps, doubles, garbage and outages are harmless."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from taskq.registry import clock
from taskq.registry.connect import connect, connect_worker
from taskq.registry.feed.feed import Feed
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.model.record import Route, TaskRecord
from taskq.registry.settings import Settings

# Far longer than a test: whatever arrives came by the channel.
NEVER = 600.0


def change(redis: Redis, keys: Keys, task: str, *, publish: bool = True, log: bool = True) -> int:
    """One change of ``task`` as the commit writes it."""
    revision = int(redis.get(keys.revision) or 0) + 1
    record = TaskRecord(task=task, revision=revision, latest=revision, route=Route(stable=revision))
    pipe = redis.pipeline()
    pipe.hset(keys.registry, task, record.dump())
    pipe.set(keys.revision, revision)
    if log:
        pipe.xadd(keys.changelog, {"tasks": task}, id=f"{revision}-0")
    if publish:
        pipe.publish(keys.changes, f'{{"id": "{revision}"}}')
    pipe.execute()
    return revision


class Watcher:
    """Records what a feed tells."""

    def __init__(self) -> None:
        self.changes: list[set[str]] = []
        self.requests: list[dict[str, Any]] = []

    async def on_change(self, tasks: set[str]) -> None:
        self.changes.append(tasks)

    async def on_control(self, request: dict[str, Any]) -> None:
        self.requests.append(request)


@asynccontextmanager
async def feeding(settings: Settings, keys: Keys, watcher: Watcher | None = None) -> AsyncIterator[Feed]:
    watcher = watcher or Watcher()
    client: AsyncRedis = connect_worker(settings)
    feed = Feed(client, keys, settings, Snapshot(), watcher.on_change, watcher.on_control)
    try:
        await feed.start()
        yield feed
    finally:
        await feed.stop()
        await client.aclose()


async def eventually(predicate: Callable[[], Any], what: str, within: float = 10.0) -> None:
    deadline = clock.monotonic() + within
    while not predicate():
        assert clock.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.005)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]  # a coroutine function's result is a coroutine


def slow_poll(settings: Settings, **more: Any) -> Settings:
    return settings.model_copy(update={"poll": NEVER} | more)


def listeners(redis: Redis, keys: Keys) -> int:
    return int(redis.pubsub_numsub(keys.changes)[0][1])


def test_a_change_arrives_by_the_channel(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        change(redis, keys, "early")
        watcher = Watcher()
        async with feeding(slow_poll(settings), keys, watcher) as feed:
            assert set(feed.snapshot.tasks) == {"early"}
            await eventually(lambda: listeners(redis, keys), "subscribed")
            revision = change(redis, keys, "late")
            await eventually(lambda: feed.snapshot.revision == revision, "the change")
            assert watcher.changes == [{"early"}, {"late"}]

    run(test)


def test_a_change_arrives_by_polling_where_the_channel_is_off(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        async with feeding(settings.model_copy(update={"pubsub": False, "poll": 0.05}), keys) as feed:
            revision = change(redis, keys, "a")
            await eventually(lambda: feed.snapshot.revision == revision, "the change")
            assert listeners(redis, keys) == 0

    run(test)


def test_a_lost_message_is_made_good_by_the_next_one(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        async with feeding(slow_poll(settings), keys) as feed:
            await eventually(lambda: listeners(redis, keys), "subscribed")
            change(redis, keys, "lost", publish=False)
            revision = change(redis, keys, "heard")
            await eventually(lambda: feed.snapshot.revision == revision, "both changes")
            assert set(feed.snapshot.tasks) == {"lost", "heard"}

    run(test)


def test_doubled_reordered_forged_and_garbled_messages_change_nothing(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        watcher = Watcher()
        async with feeding(slow_poll(settings), keys, watcher) as feed:
            await eventually(lambda: listeners(redis, keys), "subscribed")
            change(redis, keys, "a")
            await eventually(lambda: "a" in feed.snapshot.tasks, "a")
            before = len(watcher.changes)
            for junk in (b"", b"\xff\xfe", b'{"id": "1"}', b'{"id": "1"}', b'{"id": "999999"}', b"[]", b"{" * 5000, b"null"):
                redis.publish(keys.changes, junk)
                redis.publish(keys.control, junk)
            revision = change(redis, keys, "b")
            await eventually(lambda: feed.snapshot.revision == revision, "b")
            assert watcher.changes[before:] == [{"b"}]
            assert set(feed.snapshot.tasks) == {"a", "b"}

    run(test)


def test_a_flood_on_the_channel_costs_few_calls(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        async with feeding(slow_poll(settings), keys) as feed:
            await eventually(lambda: listeners(redis, keys), "subscribed")
            begun, calls = clock.monotonic(), feed._started
            pipe = redis.pipeline()
            for _ in range(5000):
                pipe.publish(keys.changes, b"junk")
            pipe.execute()
            revision = change(redis, keys, "a")
            await eventually(lambda: feed.snapshot.revision == revision, "a")
            assert feed._started - calls <= (clock.monotonic() - begun) / 0.02 + 2

    run(test)


def test_requests_on_the_control_channel_are_passed_on(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        watcher = Watcher()
        async with feeding(slow_poll(settings), keys, watcher):
            await eventually(lambda: listeners(redis, keys), "subscribed")
            for message in (b'{"type": "inspect"}', b"junk", b'"text"', b'{"type": "poke"}'):
                redis.publish(keys.control, message)
            await eventually(lambda: len(watcher.requests) == 2, "two requests")
            assert watcher.requests == [{"type": "inspect"}, {"type": "poke"}]

    run(test)


def test_a_trimmed_change_log_makes_the_feed_take_everything(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        async with feeding(slow_poll(settings, pubsub=False), keys) as feed:
            for task in "abcde":
                change(redis, keys, task)
            await feed.catch_up()
            redis.hdel(keys.registry, "a")
            change(redis, keys, "f", log=False)
            change(redis, keys, "g")
            await feed.catch_up()
            assert set(feed.snapshot.tasks) == set("bcdefg")

    run(test)


def test_a_server_that_came_back_empty_is_followed(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        watcher = Watcher()
        async with feeding(slow_poll(settings, pubsub=False), keys, watcher) as feed:
            for task in "abc":
                change(redis, keys, task)
            await feed.catch_up()
            redis.flushall()
            change(redis, keys, "z")
            await feed.catch_up()
            assert (feed.snapshot.revision, set(feed.snapshot.tasks)) == (1, {"z"})
            assert watcher.changes[-1] == {"a", "b", "c", "z"}

    run(test)


def test_callers_at_the_same_time_share_one_call(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        async with feeding(slow_poll(settings, pubsub=False), keys) as feed:
            revision = change(redis, keys, "a")
            calls = feed._started
            await asyncio.gather(*(feed.catch_up() for _ in range(100)), *(feed.catch_up(revision) for _ in range(100)))
            assert feed.snapshot.revision == revision
            assert feed._started - calls <= 2
            calls = feed._started
            await feed.catch_up(revision)
            assert feed._started == calls

    run(test)


def test_a_catch_up_sees_what_was_committed_before_it_was_asked(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        async with feeding(slow_poll(settings), keys) as feed:

            async def caller(number: int) -> None:
                for _ in range(10):
                    revision = change(redis, keys, f"t{number}")
                    await feed.catch_up(revision if random.random() < 0.5 else None)
                    assert feed.snapshot.revision >= revision

            await asyncio.gather(*(caller(number) for number in range(8)))
            assert feed.snapshot.revision == 80

    run(test)


def test_a_record_of_another_release_is_kept_apart(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def test() -> None:
        async with feeding(slow_poll(settings, pubsub=False), keys) as feed:
            change(redis, keys, "a")
            change(redis, keys, "future")
            redis.hset(keys.registry, "future", b"\xc1\x63\x80")
            await feed.catch_up()
            assert set(feed.snapshot.tasks) == {"a"}
            assert "format 99" in feed.snapshot.unreadable["future"]
            change(redis, keys, "future")
            await feed.catch_up()
            assert set(feed.snapshot.tasks) == {"a", "future"}
            assert not feed.snapshot.unreadable

    run(test)


def test_a_callback_that_fails_does_not_end_the_feed(
    settings: Settings, redis: Redis, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        watcher = Watcher()
        async with feeding(slow_poll(settings), keys, watcher) as feed:
            await eventually(lambda: listeners(redis, keys), "subscribed")

            async def broken(_: set[str]) -> None:
                raise RuntimeError("a bug")

            feed._on_change = broken
            change(redis, keys, "a")
            await eventually(lambda: "a bug" in caplog.text, "recorded")
            feed._on_change = watcher.on_change
            change(redis, keys, "b")
            await eventually(lambda: {"b"} in watcher.changes, "the next change")

    run(test)


def test_the_feed_outlives_the_server(own_server: Any, keys: Keys) -> None:
    settings = Settings(redis_url=own_server.url, poll=0.2)

    async def test() -> None:
        with connect(settings) as redis:
            change(redis, keys, "a")
        async with feeding(settings, keys) as feed:
            assert set(feed.snapshot.tasks) == {"a"}
            own_server.kill()
            with pytest.raises(Exception, match="can't be reached"):
                await feed.catch_up()
            own_server.start()
            with connect(settings) as redis:
                revision = change(redis, keys, "b")
                await eventually(lambda: feed.snapshot.revision == revision, "caught up again")
                await eventually(lambda: listeners(redis, keys), "subscribed again")

    run(test)


def test_a_feed_starts_while_the_server_is_away(own_server: Any, keys: Keys) -> None:
    settings = Settings(redis_url=own_server.url, poll=0.2)

    async def test() -> None:
        own_server.kill()
        client = connect_worker(settings)
        watcher = Watcher()
        feed = Feed(client, keys, settings, Snapshot(), watcher.on_change)
        starting = asyncio.create_task(feed.start())
        await eventually(lambda: feed._started >= 2, "two attempts")
        assert not starting.done()
        own_server.start()
        await asyncio.wait_for(starting, 10)
        await feed.stop()
        await client.aclose()

    run(test)
