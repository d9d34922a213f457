"""The next job for a worker that has just ended one: heartbeat, suspension, dequeue and fetch in one call."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.queue import Queue
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import as_text, now, utcformat

from taskq.registry.scripts import load

if TYPE_CHECKING:
    from taskq.worker.foreign.sparing import SparingWorker

_SCRIPT: Final = load("foreign")
_LMOVE: Final = (6, 2, 0)


class Nothing(Enum):
    """Why no job was taken."""

    EMPTY = "the queues are empty"
    SUSPENDED = "the workers are suspended"


def fits(worker: SparingWorker) -> bool:
    """Whether queues and jobs of ``worker`` are taken and fetched as RQ does, by a server that knows how."""
    queue, job = worker.queue_class, worker.job_class
    plain = (
        queue.dequeue_any.__func__ is Queue.dequeue_any.__func__  # type: ignore[attr-defined]  # a bound class method has it
        and queue.lmove.__func__ is Queue.lmove.__func__  # type: ignore[attr-defined]  # the same
        and queue.lpop.__func__ is Queue.lpop.__func__  # type: ignore[attr-defined]  # the same
        and job.fetch.__func__ is Job.fetch.__func__  # type: ignore[attr-defined]  # the same
        and job.refresh is Job.refresh
    )
    return plain and worker.get_redis_server_version() >= _LMOVE


def take(worker: SparingWorker) -> tuple[Job, Queue] | Nothing:
    """The next job of the worker's queues, with its queue.

    Raises:
        RedisError: Redis did not answer.
    """
    queues: list[str] = [queue.key for queue in worker._ordered_queues]
    one = len(queues) == 1  # RQ keeps the job in an intermediate queue then, in case that the worker dies before it notes the job
    places = [*queues, IntermediateQueue.get_intermediate_queue_key(queues[0])] if one else queues
    worker.last_heartbeat = now()
    reply: list[Any] = _SCRIPT.call(
        worker.connection,
        [WORKERS_SUSPENDED, worker.key, worker.executions_key, *places],
        [utcformat(worker.last_heartbeat), worker.worker_ttl + 60, worker.job_class.redis_job_namespace_prefix, "1" if one else ""],
    )
    if reply[0] == b"suspended":
        return Nothing.SUSPENDED
    if reply[0] == b"empty":
        return Nothing.EMPTY
    _, key, number, fields = reply
    queue = worker.queue_of(as_text(key))
    job = worker.job_class(as_text(number), connection=worker.connection, serializer=worker.serializer)
    job.restore(dict(zip(fields[::2], fields[1::2], strict=True)))
    return job, queue
