"""The jobs as coroutines, for the peers that are made for them."""

from __future__ import annotations

import asyncio
import time

import bench_jobs


async def constant() -> int:
    """As `bench_jobs.constant`."""
    return bench_jobs.constant()


async def now() -> float:
    """As `bench_jobs.now`."""
    return bench_jobs.now()


async def doze() -> list[float]:
    """As `bench_jobs.nap`, on the event loop."""
    began = time.monotonic()
    await asyncio.sleep(bench_jobs.NAP)
    return [began, time.monotonic()]
