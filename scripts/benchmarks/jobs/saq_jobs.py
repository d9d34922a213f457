"""The jobs for saq.

``BENCH_URL`` is the server; ``BENCH_SLOTS`` its concurrency if it shall not be the default; with ``BENCH_UVLOOP`` it runs on uvloop.
"""

from __future__ import annotations

import os
from typing import Any

import bench_jobs
import uvloop
from context_jobs import constant, doze, now
from redis.asyncio import Redis
from saq.queue.redis import RedisQueue

if "BENCH_UVLOOP" in os.environ:
    uvloop.install()

# Its own `from_url` knows no Unix sockets.
queue = RedisQueue(Redis.from_url(os.environ["BENCH_URL"]))


def nap(_ctx: dict[str, Any]) -> list[float]:
    """As `bench_jobs.nap`."""
    return bench_jobs.nap()


settings: dict[str, Any] = {"queue": queue, "functions": [constant, now, doze, nap]}
if "BENCH_SLOTS" in os.environ:
    settings["concurrency"] = int(os.environ["BENCH_SLOTS"])
