"""Outcomes on their way: two calls at once, of which either may fail, behind the lines of their runs."""

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


class Reading(Server):
    """Takes lines only when it is let; notes the scripts that it was sent."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        super().__init__(settings, keys)
        self.scripts: list[str] = []
        self.begun, self.let = asyncio.Event(), asyncio.Event()

    async def call(self, script: str, keys: Any, args: Any) -> Any:
        if script == "log":
            self.begun.set()
            await self.let.wait()
        self.scripts.append(script)
        return []


def test_an_outcome_waits_for_lines_of_its_run_that_are_on_their_way(settings: Settings, keys: Keys) -> None:
    async def main() -> None:
        server = Reading(settings, keys)
        logs = Logs(server)
        outcomes = Outcomes(server, "w", logs)
        logs.add(run(0), [[1.0, "INFO", "the last line"]])
        writing = asyncio.create_task(logs.flush())
        await server.begun.wait()
        outcomes.start()
        outcomes.settle(run(0), Finish("finished"))
        assert not await outcomes.flushed(0.1)
        server.let.set()
        assert await outcomes.flushed(10)
        assert server.scripts == ["log", "finish"]
        await writing
        await outcomes.stop()
        await server.close()

    asyncio.run(main())


class Refusing(Server):
    """Records outcomes as if another call had (so that they are counted with the next one), and refuses the counts."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        super().__init__(settings, keys)
        self.refused = 0

    async def call(self, script: str, keys: Any, args: Any) -> Any:
        if args[4]:  # how many runs
            return [b"ok", b"stale"]
        self.refused += 1
        raise ResponseError("WRONGTYPE no hash")


def test_counts_that_are_refused_are_dropped_and_said(settings: Settings, keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = Refusing(settings, keys)
        outcomes = Outcomes(server, "w", Logs(server))
        for number in range(2):
            counted = run(number)
            counted.version = 1
            outcomes.settle(counted, Finish("finished"))
        outcomes.start()
        assert await outcomes.flushed(10)
        assert server.refused == 1
        await outcomes.stop()
        await server.close()

    asyncio.run(main())
    assert "statistics are refused and dropped: WRONGTYPE no hash" in caplog.messages
