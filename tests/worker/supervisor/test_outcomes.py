"""Outcomes on their way: two calls at once, of which either may fail."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from taskq.registry.keys import Keys
from taskq.registry.runtime.server import Server
from taskq.registry.settings import Settings
from taskq.worker.runs.run import Run
from taskq.worker.runs.verdicts import Finish
from taskq.worker.supervisor.logs import Logs
from taskq.worker.supervisor.outcomes import Outcomes

_MANY = 40


class Slow(Server):
    """Its first two calls end when they are told to; the second one as ``error`` says."""

    def __init__(self, settings: Settings, keys: Keys, error: Exception) -> None:
        super().__init__(settings, keys)
        self.begun = [asyncio.Event(), asyncio.Event()]
        self.ends = [asyncio.Event(), asyncio.Event()]
        self.rested = asyncio.Event()
        self.calls, self._error = 0, error

    async def call(self, script: str, keys: Any, args: Any) -> Any:
        nth, self.calls = self.calls, self.calls + 1
        if nth < len(self.ends):
            self.begun[nth].set()
            await self.ends[nth].wait()
        if nth == 1:
            raise self._error
        return []


def run(number: int) -> Run:
    return Run(f"run-{number}", str(number), "default", "taskq.default", "fine", 1, b"")


@pytest.mark.parametrize("error", [RedisConnectionError("gone"), ResponseError("MISCONF no disk")])
def test_what_a_call_beside_could_not_record_is_sent_again_though_nothing_follows(settings: Settings, keys: Keys, error: Exception) -> None:
    async def main() -> None:
        server = Slow(settings, keys, error)
        outcomes = Outcomes(server, "w", Logs(server))
        outcomes.ride.offered, outcomes.ride.landed = True, server.rested.set
        outcomes.start()
        outcomes.settle(run(0), Finish("finished"))
        await server.begun[0].wait()
        server.rested.clear()
        for number in range(1, _MANY):
            outcomes.settle(run(number), Finish("finished"))
        await server.begun[1].wait()
        server.ends[0].set()
        await server.rested.wait()
        server.ends[1].set()
        assert await outcomes.flushed(10), f"{outcomes.unconfirmed()} outcomes are held for ever"
        assert outcomes.unconfirmed() == 0
        await outcomes.stop()
        await server.close()

    asyncio.run(main())
