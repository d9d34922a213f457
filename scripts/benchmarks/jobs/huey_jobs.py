"""The jobs for huey. ``BENCH_URL`` is the server; results are stored unless ``BENCH_RESULTS`` is empty."""

from __future__ import annotations

import os

import bench_jobs
from huey import RedisHuey

huey = RedisHuey("bench", url=os.environ["BENCH_URL"], results=bool(os.environ.get("BENCH_RESULTS")))

constant = huey.task()(bench_jobs.constant)
now = huey.task()(bench_jobs.now)
nap = huey.task()(bench_jobs.nap)
