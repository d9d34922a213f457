"""The jobs as plain functions, for the peers that import them.

In a folder of their own and no package: a worker that forks imports this for each job, and nothing else.
"""

from __future__ import annotations

import time

NAP = 0.010
"""Seconds that a nap takes."""


def constant() -> int:
    """Nothing; returns a constant, so that the result can be checked."""
    return 7


def now() -> float:
    """When it started, on the machine's monotonic clock."""
    return time.monotonic()


def nap() -> list[float]:
    """Sleep, as a call that waits for somebody else does; returns when it began and ended."""
    began = time.monotonic()
    time.sleep(NAP)
    return [began, time.monotonic()]
