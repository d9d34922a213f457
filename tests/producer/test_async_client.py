"""The asyncio face: the same operations, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis import Redis
from support import hands

from taskq.producer import AsyncClient
from taskq.registry.errors import Conflict, InvalidInput, RunFailed, WaitTimeout
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec
from taskq.registry.settings import Settings

Story = Callable[[AsyncClient], Awaitable[None]]


@pytest.fixture
def play(settings: Settings, redis: Redis, keys: Keys) -> Callable[[Story], None]:
    """Runs a story on a client in a loop of its own."""
    hands.put_task(redis, keys, "count", spec=Spec(parameters=hands.schema(n={"type": "integer"})))

    async def tell(story: Story) -> None:
        async with AsyncClient(settings=settings) as client:
            await story(client)

    return lambda story: asyncio.run(tell(story))


def test_a_run_is_enqueued_awaited_and_read(play: Callable[[Story], None], redis: Redis, keys: Keys) -> None:
    async def story(client: AsyncClient) -> None:
        run = await client.enqueue("count", n=2)
        waiting = asyncio.create_task(run.wait(10))
        hands.finish(redis, keys, hands.claim(redis, keys)[0], 4)
        assert await waiting == 4
        assert (await client.run(run.id)).result == 4
        assert [found.id for found in await client.runs(status="succeeded")] == [run.id]
        assert await run.logs() == []

    play(story)


def test_many_waits_share_a_client(play: Callable[[Story], None], redis: Redis, keys: Keys) -> None:
    async def story(client: AsyncClient) -> None:
        runs = await client.enqueue_many("count", [{"n": n} for n in range(30)])
        waits = [asyncio.create_task(run.wait(20)) for run in runs]
        for claimed in hands.claim(redis, keys, 30):
            hands.finish(redis, keys, claimed, claimed.params["n"])
        assert await asyncio.gather(*waits) == list(range(30))

    play(story)


def test_what_is_refused_is_refused_here_too(play: Callable[[Story], None], redis: Redis, keys: Keys) -> None:
    async def story(client: AsyncClient) -> None:
        with pytest.raises(InvalidInput):
            await client.enqueue("count", n="x")
        run = await client.options(key="k").enqueue("count", n=1)
        assert (await client.options(key="k").enqueue("count", n=1)).deduplicated
        with pytest.raises(WaitTimeout):
            await run.wait(0.01)
        await run.cancel()
        with pytest.raises(RunFailed, match="cancelled"):
            await run.wait(1)
        with pytest.raises(Conflict):
            await run.cancel()

    play(story)
