"""A no-op whose record is kept for a few seconds only."""

from __future__ import annotations

from taskq import task


@task(result_ttl=5)
def brief() -> int:
    """Nothing."""
    return 7
