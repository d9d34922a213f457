"""huey: a task's call enqueues it; one after the other: it has no call for many."""

from __future__ import annotations

from typing import Any

import huey_jobs

from benchmarks.clients.producer import Producer


class CLIENT(Producer):
    """See the module. Results are read without taking them away."""

    def enqueue(self, job: str) -> Any:
        return getattr(huey_jobs, job)()

    def enqueue_many(self, job: str, count: int) -> list[Any]:
        task = getattr(huey_jobs, job)
        return [task() for _ in range(count)]

    def value(self, handle: Any, timeout: float) -> Any:
        return handle.get(blocking=True, timeout=timeout, backoff=1.0, max_delay=0.01, preserve=True)
