"""RQ: ``enqueue`` and ``enqueue_many`` of its `Queue`."""

from __future__ import annotations

from typing import Any

from redis import Redis
from rq import Queue
from rq.results import Result

from benchmarks.clients.producer import Producer


class CLIENT(Producer):
    """See the module."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._redis = Redis.from_url(url)
        self._queue = Queue(connection=self._redis)

    def enqueue(self, job: str) -> Any:
        return self._queue.enqueue(f"bench_jobs.{job}")

    def enqueue_many(self, job: str, count: int) -> list[Any]:
        return list(self._queue.enqueue_many([Queue.prepare_data(f"bench_jobs.{job}") for _ in range(count)]))

    def value(self, handle: Any, timeout: float) -> Any:
        found = handle.latest_result(timeout=int(timeout))
        if found is None or found.type != Result.Type.SUCCESSFUL:
            raise RuntimeError(f"job {handle.id} has {'no result' if found is None else found.exc_string}")
        return found.return_value

    def close(self) -> None:
        self._redis.close()
