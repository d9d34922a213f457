"""Celery: ``send_task`` by the task's own ``delay``; many are sent over one open producer, as its documentation advises."""

from __future__ import annotations

from typing import Any

import celery_jobs

from benchmarks.clients.producer import Producer


class CLIENT(Producer):
    """See the module."""

    def enqueue(self, job: str) -> Any:
        return getattr(celery_jobs, job).delay()

    def enqueue_many(self, job: str, count: int) -> list[Any]:
        task = getattr(celery_jobs, job)
        with celery_jobs.app.producer_or_acquire() as producer:
            return [task.apply_async(producer=producer) for _ in range(count)]

    def value(self, handle: Any, timeout: float) -> Any:
        return handle.get(timeout=timeout)
