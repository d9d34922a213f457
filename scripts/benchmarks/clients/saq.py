"""saq: ``enqueue``; many as calls at once: it has no call for many that does not wait for the results as well."""

from __future__ import annotations

import asyncio
from typing import Any

import saq_jobs

from benchmarks.clients.producer import AsyncProducer

_LOOK = 0.01


class CLIENT(AsyncProducer):
    """See the module."""

    async def open(self) -> None:
        await saq_jobs.queue.connect()

    async def shut(self) -> None:
        await saq_jobs.queue.disconnect()

    async def send(self, job: str) -> Any:
        return await saq_jobs.queue.enqueue(job)

    async def receive(self, handle: Any, timeout: float) -> Any:  # noqa: ASYNC109  # the library's own way to wait
        # Its own waiting asks first and listens then: what ends in between is missed.
        async with asyncio.timeout(timeout):
            while not handle.completed:
                await handle.refresh()
                await asyncio.sleep(0 if handle.completed else _LOOK)
        if handle.status != "complete":
            raise RuntimeError(f"job {handle.key} is {handle.status}: {handle.error}")
        return handle.result
