"""The jobs for dramatiq. ``BENCH_URL`` is the server; with ``BENCH_RESULTS`` they are stored, in a database of their own."""

from __future__ import annotations

import os

import bench_jobs
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

_URL = os.environ["BENCH_URL"]
_STORED = bool(os.environ.get("BENCH_RESULTS"))

broker = RedisBroker(url=_URL)
if _STORED:
    broker.add_middleware(Results(backend=RedisBackend(url=f"{_URL}?db=1")))
dramatiq.set_broker(broker)
_OPTIONS = {"store_results": True} if _STORED else {}

constant = dramatiq.actor(bench_jobs.constant, **_OPTIONS)
now = dramatiq.actor(bench_jobs.now, **_OPTIONS)
nap = dramatiq.actor(bench_jobs.nap, **_OPTIONS)
