"""The jobs for Celery. ``BENCH_URL`` is the server; results have a database of their own, so that they can be counted."""

from __future__ import annotations

import os

import bench_jobs
from celery import Celery

_PLACE = os.environ["BENCH_URL"].removeprefix("unix://")

app = Celery("bench", broker=f"redis+socket://{_PLACE}", backend=f"redis+socket://{_PLACE}?virtual_host=1")
app.conf.broker_connection_retry_on_startup = True

constant = app.task(bench_jobs.constant, name="constant")
now = app.task(bench_jobs.now, name="now")
nap = app.task(bench_jobs.nap, name="nap")
