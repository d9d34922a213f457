"""What a type checker knows of an enqueue by a decorated function; mypy reads this file, pytest only runs it."""

from __future__ import annotations

from typing import assert_type

import pytest
from redis import Redis
from support import hands

from taskq.producer import AsyncClient, AsyncRun, Client, Run
from taskq.registry.authoring.context import TaskContext
from taskq.registry.authoring.task import task
from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task(name="with_context")
def with_context(ctx: TaskContext, n: int) -> str:
    return f"{ctx.run} {n}"


@task
async def later(n: int) -> float:
    return float(n)


@task
async def later_with_context(ctx: TaskContext, n: int) -> bytes:
    return bytes(n) + ctx.run.encode()


async def check_asyncio(client: AsyncClient) -> None:
    assert_type(await client.enqueue(add, 1), AsyncRun[int])
    assert_type(await client.enqueue(with_context, n=1), AsyncRun[str])
    assert_type(await client.enqueue(later, 1), AsyncRun[float])
    assert_type(await client.options(key="x").enqueue(later_with_context, n=1), AsyncRun[bytes])


def test_a_run_has_the_type_that_its_function_returns(client: Client, server: Redis, keys: Keys) -> None:
    spec = Spec(parameters=hands.schema(a={"type": "integer"}, b={"type": "integer"}, n={"type": "integer"}))
    for name in ("add", "with_context", "later", "later_with_context"):
        hands.put_task(server, keys, name, spec=spec)
    assert_type(client.enqueue(add, a=1, b=2), Run[int])
    assert_type(client.enqueue(add, 1, 2), Run[int])
    assert_type(client.enqueue(with_context, n=1), Run[str])
    assert_type(client.enqueue(later, n=1), Run[float])
    assert_type(client.options(pin=True).enqueue(later_with_context, 1), Run[bytes])
    first, second, *others = [claimed.params for claimed in hands.claim(server, keys, 9)]
    assert (first, second, others) == ({"a": 1, "b": 2}, {"a": 1, "b": 2}, [{"n": 1}] * 3)


def test_what_a_type_checker_refuses_is_refused_at_run_time(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "add", spec=Spec(parameters=hands.schema(a={"type": "integer"}, b={"type": "integer"})))
    with pytest.raises(InvalidInput):
        client.enqueue(add, a="1")  # type: ignore[call-overload]  # that is the test
    with pytest.raises(InvalidInput, match="too many positional arguments"):
        client.enqueue(add, 1, 2, 3)  # type: ignore[call-overload]  # that is the test
