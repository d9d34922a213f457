"""What a type checker knows of a run; mypy reads this file, pytest only runs it."""

from __future__ import annotations

from typing import Any, assert_type

import pytest

from taskq import InvalidInput, Task, TaskContext, task
from taskq.testing import Fleet, FleetRun


@task
def add(a: int, b: int = 0) -> int:
    return a + b


@task(name="with_context")
def with_context(ctx: TaskContext, n: int) -> str:
    return f"{ctx.attempt} {n}"


@task
async def later(n: int) -> float:
    return float(n)


@task
async def later_with_context(ctx: TaskContext, n: int) -> bytes:
    return bytes(n) + ctx.queue.encode()


class Sum(Task[[list[int]], int]):
    def execute(self, numbers: list[int]) -> int:
        return sum(numbers)


def test_a_run_has_the_type_that_its_function_returns(taskq_fleet: Fleet) -> None:
    assert_type(taskq_fleet.run(add, a=1, b=2), FleetRun[int])
    assert_type(taskq_fleet.run(with_context, n=1), FleetRun[str])
    assert_type(taskq_fleet.run(later, 1), FleetRun[float])
    assert_type(taskq_fleet.options(timeout="1m").run(later_with_context, n=1), FleetRun[bytes])
    assert_type(taskq_fleet.run(Sum, numbers=[1]), FleetRun[Any])
    assert_type(taskq_fleet.run(add, 1).result, int)
    assert_type(taskq_fleet.attempt(add, 1).result, int | None)
    assert_type(taskq_fleet.enqueued(add), list[FleetRun[Any]])


def test_what_a_type_checker_refuses_is_refused_at_run_time(taskq_fleet: Fleet) -> None:
    with pytest.raises(InvalidInput):
        taskq_fleet.run(add, a="1")  # type: ignore[call-overload]  # that is the test
    with pytest.raises(InvalidInput, match="can't be registered"):
        taskq_fleet.register(print)  # type: ignore[arg-type]  # that is the test
