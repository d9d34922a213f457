"""The jobs for arq.

``BENCH_URL`` is the server; ``BENCH_SLOTS`` and ``BENCH_POLL`` (seconds) if they shall not be the defaults; with ``BENCH_UVLOOP`` it
runs on uvloop.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import bench_jobs
import uvloop
from arq.connections import RedisSettings
from context_jobs import constant, doze, now

if "BENCH_UVLOOP" in os.environ:
    uvloop.install()


async def nap(_ctx: dict[str, Any]) -> list[float]:
    """As `bench_jobs.nap`, in a thread: arq leaves what blocks to the task."""
    return await asyncio.to_thread(bench_jobs.nap)


class WorkerSettings:
    """What the command ``arq`` reads."""

    functions = (constant, now, doze, nap)
    redis_settings = RedisSettings.from_dsn(os.environ["BENCH_URL"])
    if "BENCH_SLOTS" in os.environ:
        max_jobs = int(os.environ["BENCH_SLOTS"])
    if "BENCH_POLL" in os.environ:
        poll_delay = float(os.environ["BENCH_POLL"])
