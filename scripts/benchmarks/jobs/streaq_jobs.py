"""The jobs for streaq.

``BENCH_URL`` is the server; ``BENCH_SLOTS`` its concurrency if it shall not be the default; with ``BENCH_UVLOOP`` it runs on uvloop.
"""

from __future__ import annotations

import os
from typing import Any

import async_jobs
import bench_jobs
from streaq import Worker

_OPTIONS: dict[str, Any] = {}
if "BENCH_SLOTS" in os.environ:
    _OPTIONS["concurrency"] = int(os.environ["BENCH_SLOTS"])
if "BENCH_UVLOOP" in os.environ:
    _OPTIONS["anyio_kwargs"] = {"use_uvloop": True}

worker = Worker(redis_url=os.environ["BENCH_URL"], **_OPTIONS)

constant = worker.task(name="constant")(async_jobs.constant)
now = worker.task(name="now")(async_jobs.now)
doze = worker.task(name="doze")(async_jobs.doze)
nap = worker.task(name="nap")(bench_jobs.nap)
