"""Values of Python's types through a client: what is refused before anything is written, and results that come back as they were."""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from redis import Redis
from support import hands
from support.shapes import Color, Point, Row

from taskq.producer import AsyncClient, Client
from taskq.registry.authoring.task import Task, task
from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Parameters, Spec
from taskq.registry.runs import creation
from taskq.registry.settings import Settings

OPEN = Spec(parameters=Parameters(json_schema={"type": "object"}))
NOON = datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def loop() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class Angry:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x" * 10_000_000, "more than 1,048,576 bytes, allowed are 1,048,576"),
        (["x" * 1000] * 1_100, "bytes, allowed are 1,048,576"),
        (nested(10_000), "at most 100 levels"),
        ({"a": nested(101)}, "at most 100 levels"),
        (loop(), "at most 100 levels"),
        (math.nan, "must be finite"),
        ([math.inf], "must be finite"),
        ("\ud800", "lone surrogate"),
        ({"\udfff": 1}, "lone surrogate"),
        (2**63 + 1, "allowed are -2^63 to 2^63-1"),
        (10**5000, "allowed are -2^63 to 2^63-1"),
        ({1, 2}, "pass a list"),
        (frozenset("a"), "pass a list"),
        (object(), "object"),
        (Angry(), "repr raises RuntimeError"),
        (lambda: 0, "function"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_f21_a_value_that_can_not_be_stored_is_refused_and_nothing_is_written(
    client: Client, server: Redis, keys: Keys, value: Any, words: str
) -> None:
    hands.put_task(server, keys, "take", spec=OPEN)
    before = set(server.keys("*"))  # type: ignore[arg-type]  # this client does not decode
    with pytest.raises(InvalidInput) as caught:
        client.enqueue("take", v=value)
    assert words in caught.value.message
    assert len(caught.value.message) < 500
    assert set(server.keys("*")) == before  # type: ignore[arg-type]  # as above


def test_f21_large_parameters_are_warned_of_once_a_task(
    client: Client, server: Redis, keys: Keys, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "_warned", set())
    hands.put_task(server, keys, "take", spec=OPEN)
    with caplog.at_level(logging.WARNING):
        client.enqueue("take", v="x" * 200_000)
        assert not caplog.messages
        for _ in range(2):
            client.enqueue("take", v="x" * 300_000)
    assert [message.partition(";")[0] for message in caplog.messages] == ["task take: the parameters take 300,010 bytes"]


def test_parameters_without_a_declared_type_arrive_as_they_were(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "take", spec=OPEN)
    given = {"v": [NOON, date(2026, 1, 1), timedelta(1), Decimal("1.10"), UUID(int=7), b"\xff"]}
    client.enqueue("take", **given)
    (claimed,) = hands.claim(server, keys)
    assert claimed.params == given


def _never() -> Any:
    raise AssertionError("a client calls no task")


@task
def of_point() -> Point:
    return _never()  # type: ignore[no-any-return]  # never called


@task
async def of_rows() -> list[Row]:
    return _never()  # type: ignore[no-any-return]  # never called


@task
def of_pair() -> tuple[int, Color] | None:
    return _never()  # type: ignore[no-any-return]  # never called


@task
def of_time() -> datetime:
    return _never()  # type: ignore[no-any-return]  # never called


class OfPath(Task[[], dict[UUID, Decimal]]):
    def execute(self) -> dict[UUID, Decimal]:
        return _never()  # type: ignore[no-any-return]  # never called


POINT = Point(Decimal("1.10"), NOON, Point(Decimal(2), NOON))
ROW = Row(number=UUID(int=7), color=Color.RED)


@pytest.mark.parametrize(
    ("body", "value", "plain"),
    [
        (of_point, POINT, {"x": Decimal("1.10"), "at": NOON, "before": {"x": Decimal(2), "at": NOON, "before": None}}),
        (of_rows, [ROW], [{"number": UUID(int=7), "color": "r"}]),
        (of_pair, (1, Color.RED), [1, "r"]),
        (of_pair, None, None),
        (of_time, NOON, NOON),
        (OfPath, {UUID(int=1): Decimal("0.5")}, {UUID(int=1): Decimal("0.5")}),
    ],
)
def test_a_result_is_what_the_function_says_and_plain_for_who_knows_the_name_alone(
    client: Client, server: Redis, keys: Keys, body: Any, value: Any, plain: Any
) -> None:
    hands.put_task(server, keys, body.name if body is not OfPath else "of_path")
    run = client.enqueue(body)
    hands.finish(server, keys, hands.claim(server, keys)[0], value)
    assert run.wait(5) == value
    assert type(run.result) is type(value)
    assert client.run(run.id).result == run.document["result"] == plain


def test_a_result_that_does_not_fit_the_function_at_hand_stays_plain(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "of_point")
    (run,) = client.enqueue_many(of_point, [{}])
    hands.finish(server, keys, hands.claim(server, keys)[0], {"y": 1})
    assert run.wait(5) == {"y": 1}


def test_an_async_client_builds_results_as_well(settings: Settings, redis: Redis, keys: Keys) -> None:
    async def story() -> list[Row]:
        async with AsyncClient(settings=settings) as client:
            run = await client.enqueue(of_rows)
            hands.finish(redis, keys, hands.claim(redis, keys)[0], [ROW])
            return await run.wait(5)

    hands.put_task(redis, keys, "of_rows")
    assert asyncio.run(story()) == [ROW]
