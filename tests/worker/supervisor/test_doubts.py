"""Leases that are not ours any more: of runs that no executor has yet, and at a worker's end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from redis.exceptions import ConnectionError as ConnectionLost

from taskq.worker.runs.run import Run
from taskq.worker.supervisor.claims import Delivery
from taskq.worker.supervisor.doubts import Doubts


class Asked:
    """An epoch that answers when it may."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may, self.asked, self._error = asyncio.Event(), asyncio.Event(), error

    async def check(self) -> None:
        self.asked.set()
        await self.may.wait()
        if self._error is not None:
            raise self._error


def doubts_about(epoch: Asked) -> tuple[Doubts, Delivery, Run]:
    run = Run("run", "1", "default", "taskq.default", "fine", 1, b"")
    nobody: Any = SimpleNamespace(executor_of=lambda _run: None)
    delivery = Delivery(nobody, nobody, nobody)
    delivery.runs = [run]
    return Doubts(epoch, nobody, delivery.forget), delivery, run  # type: ignore[arg-type]  # it has what is asked of an epoch


def test_a_claimed_run_that_others_have_taken_over_is_not_dispatched() -> None:
    async def lose() -> None:
        epoch = Asked()
        doubts, delivery, run = doubts_about(epoch)
        epoch.may.set()
        doubts.lost(run)
        while delivery.runs:  # noqa: ASYNC110  # one turn of the loop after the other, and no time
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(lose(), 5))


def test_while_redis_is_away_nothing_is_given_up() -> None:
    async def lose() -> None:
        epoch = Asked(ConnectionLost("away"))
        doubts, delivery, run = doubts_about(epoch)
        epoch.may.set()
        doubts.lost(run)
        await epoch.asked.wait()
        await doubts.stop()
        assert delivery.runs == [run]

    asyncio.run(asyncio.wait_for(lose(), 5))


def test_a_question_in_progress_ends_with_the_worker() -> None:
    async def lose() -> list[str]:
        epoch = Asked()
        doubts, _, run = doubts_about(epoch)
        doubts.lost(run)
        await epoch.asked.wait()
        await doubts.stop()
        return [task.get_name() for task in asyncio.all_tasks() if not task.done()]

    assert "lost leases" not in asyncio.run(asyncio.wait_for(lose(), 5))
