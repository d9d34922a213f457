"""arq: ``enqueue_job``; many as calls at once: it has no call for many."""

from __future__ import annotations

from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.clients.producer import AsyncProducer

_LOOK = 0.01


class CLIENT(AsyncProducer):
    """See the module."""

    async def open(self) -> None:
        self._pool = await create_pool(RedisSettings.from_dsn(self.url))

    async def shut(self) -> None:
        await self._pool.aclose()

    async def send(self, job: str) -> Any:
        return await self._pool.enqueue_job(job)

    async def receive(self, handle: Any, timeout: float) -> Any:  # noqa: ASYNC109  # the library's own way to wait
        return await handle.result(timeout=timeout, poll_delay=_LOOK)
