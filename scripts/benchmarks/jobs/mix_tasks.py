"""A slow run and a quick one as taskq's tasks."""

from __future__ import annotations

import time

from taskq import task

SLOW = 1.0


@task
def slow() -> list[float]:
    """Take a second; returns when it began and ended, on the machine's monotonic clock."""
    began = time.monotonic()
    time.sleep(SLOW)
    return [began, time.monotonic()]


@task
def quick() -> float:
    """When it started."""
    return time.monotonic()
