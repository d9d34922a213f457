"""The jobs for saq.

``BENCH_URL`` is the server; ``BENCH_SLOTS`` its concurrency if it shall not be the default; with ``BENCH_UVLOOP`` it runs on uvloop.
"""

from __future__ import annotations

import os
from typing import Any

import async_jobs
import bench_jobs
import uvloop
from redis.asyncio import Redis
from saq.queue.redis import RedisQueue

if "BENCH_UVLOOP" in os.environ:
    uvloop.install()

# Its own `from_url` knows no Unix sockets.
queue = RedisQueue(Redis.from_url(os.environ["BENCH_URL"]))


async def constant(_ctx: dict[str, Any]) -> int:
    """As `async_jobs.constant`."""
    return await async_jobs.constant()


async def now(_ctx: dict[str, Any]) -> float:
    """As `async_jobs.now`."""
    return await async_jobs.now()


async def doze(_ctx: dict[str, Any]) -> list[float]:
    """As `async_jobs.doze`."""
    return await async_jobs.doze()


def nap(_ctx: dict[str, Any]) -> list[float]:
    """As `bench_jobs.nap`."""
    return bench_jobs.nap()


settings: dict[str, Any] = {"queue": queue, "functions": [constant, now, doze, nap]}
if "BENCH_SLOTS" in os.environ:
    settings["concurrency"] = int(os.environ["BENCH_SLOTS"])
