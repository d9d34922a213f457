"""The two jobs as taskq's tasks: what `taskq register` gets."""

from __future__ import annotations

import time

from taskq import task


@task
def constant() -> int:
    """Nothing; returns a constant, so that the result can be checked."""
    return 7


@task
def now() -> float:
    """When it started, on the machine's monotonic clock."""
    return time.monotonic()
