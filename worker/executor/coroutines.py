"""An `async def` run by itself: one event loop that lives as long as the thread that runs them, the executor's main thread. Imported
with the first of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import partial
from types import TracebackType
from typing import Any

from taskq.worker.executor.gate import Gate


def run(coroutine: Coroutine[Any, Any, Any], gate: Gate) -> Any:
    """Run ``coroutine`` to its end and return its result.

    A stop cancels its asyncio task (see `gate`). What the run leaves behind on the loop is cancelled with it.

    Args:
        coroutine: of the task's code.
        gate: is told how to stop it.

    Raises:
        BaseException: whatever it raises.
    """
    with gate:  # no stop may come between the asyncio task and the way to stop it: the loop would keep the task
        loop = loop_of_thread()
        traces: list[TracebackType | None] = []
        task = loop.create_task(_alone(coroutine, traces))

        gate.divert = partial(loop.call_soon_threadsafe, task.cancel)  # this also wakes a loop that waits for its sockets
    try:
        return loop.run_until_complete(task)
    except BaseException as error:
        if task.done() and not task.cancelled():
            task.exception()  # SystemExit passes by the task, which would complain that nobody has asked for it
        # Without the frames of asyncio through which it came here: they say nothing to the author of a task.
        if traces:
            error.with_traceback(traces.pop())
        raise


_of_thread = threading.local()


def loop_of_thread() -> asyncio.AbstractEventLoop:
    """This thread's loop; made when it is first asked for."""
    loop: asyncio.AbstractEventLoop | None = getattr(_of_thread, "loop", None)
    if loop is None:
        loop = _of_thread.loop = asyncio.new_event_loop()
    return loop


def close() -> None:
    """Close this thread's loop, if it has one. An executor never does: it ends with its process."""
    loop: asyncio.AbstractEventLoop | None = getattr(_of_thread, "loop", None)
    if loop is not None:
        del _of_thread.loop
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _alone(coroutine: Coroutine[Any, Any, Any], traces: list[TracebackType | None]) -> Any:
    try:
        return await coroutine
    except BaseException as error:
        traces.append(error.__traceback__)
        raise
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.gather(*left, return_exceptions=True)
