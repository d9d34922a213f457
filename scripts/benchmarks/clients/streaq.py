"""streaq: a task's ``enqueue``, and ``enqueue_many``, which is one pipeline."""

from __future__ import annotations

from typing import Any

import streaq_jobs

from benchmarks.clients.producer import AsyncProducer


class CLIENT(AsyncProducer):
    """See the module."""

    async def open(self) -> None:
        await streaq_jobs.worker.__aenter__()

    async def shut(self) -> None:
        await streaq_jobs.worker.__aexit__(None, None, None)

    async def send(self, job: str) -> Any:
        return await getattr(streaq_jobs, job).enqueue()

    async def send_many(self, job: str, count: int) -> list[Any]:
        task = getattr(streaq_jobs, job)
        handles = [task.enqueue() for _ in range(count)]
        await streaq_jobs.worker.enqueue_many(handles)
        return handles

    async def receive(self, handle: Any, timeout: float) -> Any:  # noqa: ASYNC109  # the library's own way to wait
        result = await handle.result(timeout=int(timeout))
        if not result.success:
            raise RuntimeError(f"task {handle.id}: {result.exception!r}")
        return result.result
