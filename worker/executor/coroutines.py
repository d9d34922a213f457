"""`async def` tasks: one event loop that lives as long as the executor. Imported with the first of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from taskq.worker.executor.gate import Gate

_loops: list[asyncio.AbstractEventLoop] = []


def run(coroutine: Coroutine[Any, Any, Any], gate: Gate) -> Any:
    """Run ``coroutine`` to its end and return its result.

    A stop cancels its asyncio task; told again, it is struck like a synchronous one if its own code is executing, because
    a coroutine that blocks never gets to see its cancellation. What the run leaves behind on the loop is cancelled.
    """
    if not _loops:
        _loops.append(asyncio.new_event_loop())
    loop = _loops[0]
    task = loop.create_task(_alone(coroutine))

    def stop(again: bool) -> bool:
        if again and asyncio.current_task(loop) is task:
            return True
        # Also wakes a loop that waits for its sockets.
        loop.call_soon_threadsafe(task.cancel)
        return False

    gate.divert = stop
    try:
        return loop.run_until_complete(task)
    finally:
        gate.divert = None


async def _alone(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.gather(*left, return_exceptions=True)
