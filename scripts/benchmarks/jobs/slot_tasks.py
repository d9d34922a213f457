"""Ten milliseconds of waiting as taskq's tasks: in threads, and on the event loop."""

from __future__ import annotations

import asyncio
import time

from taskq import task

NAP = 0.010


@task(threads=8)
def nap() -> list[float]:
    """Sleep; returns when it began and ended."""
    began = time.monotonic()
    time.sleep(NAP)
    return [began, time.monotonic()]


@task
async def doze() -> list[float]:
    """As `nap`, on the event loop."""
    began = time.monotonic()
    await asyncio.sleep(NAP)
    return [began, time.monotonic()]
