"""The jobs for taskiq. ``BENCH_URL`` is the server; with ``BENCH_RESULTS`` they are stored, in a database of their own."""

from __future__ import annotations

import os

import async_jobs
import bench_jobs
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

_URL = os.environ["BENCH_URL"]

broker = ListQueueBroker(url=_URL)
if os.environ.get("BENCH_RESULTS"):
    broker = broker.with_result_backend(RedisAsyncResultBackend(redis_url=f"{_URL}?db=1"))

constant = broker.task(task_name="constant")(async_jobs.constant)
now = broker.task(task_name="now")(async_jobs.now)
doze = broker.task(task_name="doze")(async_jobs.doze)
nap = broker.task(task_name="nap")(bench_jobs.nap)
