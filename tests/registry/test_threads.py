"""The option ``threads`` of `@task`, and what is derived beside it."""

from __future__ import annotations

import pytest

from taskq.registry import task
from taskq.registry.errors import InvalidInput
from taskq.registry.inspection.description import described
from taskq.registry.model.spec import Spec


def test_threads_and_coroutine_stand_in_the_spec() -> None:
    @task(threads=8)
    def waits() -> None: ...

    @task
    async def shares() -> None: ...

    specs = [described(name, value)["spec"] for name, value in (("waits", waits), ("shares", shares))]
    assert [(spec["threads"], spec["coroutine"]) for spec in specs] == [(8, False), (None, True)]


@pytest.mark.parametrize(
    ("options", "coroutine", "told"),
    [
        ({"threads": 0}, False, r"task t: threads: .*greater than or equal to 1.*given: 0"),
        ({"threads": 65}, False, r"task t: threads: .*less than or equal to 64.*given: 65"),
        ({"threads": "4"}, False, r"task t: threads: .*valid integer.*given: '4'"),
        ({"threads": 4}, True, r"task t: threads=4: an async def task needs none"),
        ({"threads": 4, "resources": {"memory": "64M"}}, False, r"task t: threads=4: a run with resources is alone"),
    ],
)
def test_threads_that_can_not_be_are_refused_with_what_is_allowed(options: dict[str, object], coroutine: bool, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Spec.from_options("t", options, coroutine=coroutine)
