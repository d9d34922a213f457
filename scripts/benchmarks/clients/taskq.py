"""taskq: `Client`."""

from __future__ import annotations

from typing import Any

from benchmarks.clients.producer import Producer
from taskq import Client, Settings


class CLIENT(Producer):
    """See the module."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._client = Client(settings=Settings(redis_url=url))

    def enqueue(self, job: str) -> Any:
        return self._client.enqueue(job)

    def enqueue_many(self, job: str, count: int) -> list[Any]:
        return list(self._client.enqueue_many(job, [{}] * count))

    def value(self, handle: Any, timeout: float) -> Any:
        return handle.wait(timeout)

    def close(self) -> None:
        self._client.close()
