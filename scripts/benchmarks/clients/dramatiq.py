"""dramatiq: ``send``, one message after the other: it has no call for many."""

from __future__ import annotations

from typing import Any

import dramatiq_jobs

from benchmarks.clients.producer import Producer


class CLIENT(Producer):
    """See the module. Without the results' middleware there are no values to read."""

    def enqueue(self, job: str) -> Any:
        return getattr(dramatiq_jobs, job).send()

    def enqueue_many(self, job: str, count: int) -> list[Any]:
        actor = getattr(dramatiq_jobs, job)
        return [actor.send() for _ in range(count)]

    def value(self, handle: Any, timeout: float) -> Any:
        return handle.get_result(block=True, timeout=int(timeout * 1000))
