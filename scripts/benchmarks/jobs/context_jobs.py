"""The jobs as coroutines for libraries that hand each job a context."""

from __future__ import annotations

from typing import Any

import async_jobs


async def constant(_ctx: dict[str, Any]) -> int:
    """As `async_jobs.constant`."""
    return await async_jobs.constant()


async def now(_ctx: dict[str, Any]) -> float:
    """As `async_jobs.now`."""
    return await async_jobs.now()


async def doze(_ctx: dict[str, Any]) -> list[float]:
    """As `async_jobs.doze`."""
    return await async_jobs.doze()
