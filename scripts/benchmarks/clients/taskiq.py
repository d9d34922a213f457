"""taskiq: ``kiq``; many as calls at once: it has no call for many."""

from __future__ import annotations

from typing import Any

import taskiq_jobs

from benchmarks.clients.producer import AsyncProducer

_LOOK = 0.01


class CLIENT(AsyncProducer):
    """See the module."""

    async def open(self) -> None:
        await taskiq_jobs.broker.startup()

    async def shut(self) -> None:
        await taskiq_jobs.broker.shutdown()

    async def send(self, job: str) -> Any:
        return await getattr(taskiq_jobs, job).kiq()

    async def receive(self, handle: Any, timeout: float) -> Any:  # noqa: ASYNC109  # the library's own way to wait
        result = await handle.wait_result(check_interval=_LOOK, timeout=timeout)
        result.raise_for_error()
        return result.return_value
