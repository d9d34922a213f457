"""Many tasks: they are listed and served as quickly as few."""

from __future__ import annotations

import pytest
from support.command import Command

from taskq import Registry
from taskq.registry.settings import Settings


@pytest.mark.timeout(240)
def test_ten_thousand_tasks_are_listed_and_served(taskq: Command, settings: Settings) -> None:
    many = "from taskq import task\n" + "".join(f"@task\ndef t{index:05}() -> int:\n    return {index}\n" for index in range(10_000))
    with Registry(settings=settings) as registry:
        registry.register_source("many.py", many.encode())
    assert len(taskq.json("list", "--all")) == 10_000
    with taskq.workers(1):
        assert taskq.json("run", "t09999", "--wait", "--timeout", "20")["result"] == 9999
