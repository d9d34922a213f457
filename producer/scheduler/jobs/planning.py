"""`Plans`: writes what is scheduled: a job with its time and its record, another time, nothing any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rq import Queue
from rq.job import Job, JobStatus
from rq.serializers import DefaultSerializer

from taskq.producer.scheduler.jobs.handover import RQ_TIMEOUT, Handover, hand_over, stored_record
from taskq.producer.scheduler.jobs.repeats import Repeat, from_meta
from taskq.producer.scheduler.jobs.times import from_unix, text
from taskq.registry.effects import Call, Op, run_sync
from taskq.registry.errors import Conflict
from taskq.registry.keys import Keys
from taskq.registry.scripts import load

if TYPE_CHECKING:
    from redis import Redis

_TRIES: Final = 100


class Plans:
    """Writes over one connection.

    Args:
        connection: where. ``keys``: of the namespace.
    """

    def __init__(self, connection: Redis, keys: Keys) -> None:
        self._redis, self._keys = connection, keys

    def add(self, job: Job, queue: Queue, due: float, repeat: Repeat) -> None:
        """Write a job, when it is due (in s since the epoch) and how it repeats, all or nothing, and wake the scheduler."""
        record = self._with_classes(repeat, job, queue)
        with self._redis.pipeline(transaction=True) as pipe:
            job.save(pipeline=pipe)
            pipe.persist(job.key)  # of an earlier job of this id
            pipe.zadd(self._keys.scheduler_jobs, {job.id: due})
            if record == Repeat():
                pipe.hdel(self._keys.scheduler_repeats, job.id)
            else:
                pipe.hset(self._keys.scheduler_repeats, job.id, record.dump())
            pipe.publish(self._keys.scheduler_wake, "due")
            pipe.execute()

    def drop(self, job: str) -> None:
        """Schedule a job no longer; its hash stays."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.zrem(self._keys.scheduler_jobs, job)
            pipe.hdel(self._keys.scheduler_repeats, job)
            pipe.execute()

    def retime(self, job: str, due: float) -> bool:
        """Change when a job or a run is due; False where it is not scheduled."""
        return run_sync(_retime(self._keys, job, due), self._redis) != "none"

    def hand_over(self, job: Job, queue: Queue) -> None:
        """Put a job in a queue now, with all that the object says; due or not, scheduled or not.

        Raises:
            ValueError: its ``meta`` says how it repeats, and that can't be.
        """
        for _ in range(_TRIES):
            now, due, stored = run_sync(stored_record(self._keys, job.id), self._redis)
            repeat = self._with_classes(from_meta(job.meta, Repeat.load(stored) if stored else None), job, queue)
            meta = dict(job.meta)
            if repeat.left is not None:
                job.meta["repeat"] = repeat.moved().left
            job.origin = queue.name
            given = Handover(job.id, due, stored, repeat, now, early=True, fields=job.to_dict())
            word, moment = run_sync(hand_over(self._keys, "", given), self._redis)
            if word != "gone":
                break
            job.meta = meta  # it was handed over, or scheduled anew, at the same moment
        else:
            raise Conflict(f"job {job.id} is scheduled anew all the time: it could not be handed over")
        job._status = JobStatus(word)  # what RQ's own enqueueing does to it
        job.timeout = job.timeout if job.timeout is not None else (repeat.timeout or RQ_TIMEOUT)
        if word == "queued":
            job.enqueued_at = from_unix(moment)

    def _with_classes(self, repeat: Repeat, job: Job, queue: Queue) -> Repeat:
        """The record with what classes of the user's own do differently from RQ's."""
        jobs, queues = job.redis_job_namespace_prefix, queue.redis_queue_namespace_prefix
        return repeat.model_copy(
            update={
                "job_prefix": None if jobs == self._keys.rq_job("") else jobs,
                "queue_prefix": None if queues == self._keys.rq_any_queue("") else queues,
                "timeout": None if queue.DEFAULT_TIMEOUT == RQ_TIMEOUT else queue.DEFAULT_TIMEOUT,
            }
        )


def _retime(keys: Keys, job: str, due: float) -> Op[str]:
    names = [keys.scheduler_jobs, keys.scheduler_runs, keys.rq_job(job)]
    # Up to the next whole ms: never early.
    milliseconds = -(-round(due * 1_000_000) // 1000)
    word: bytes = yield Call(load("retime"), names, [job, text(due), milliseconds, keys.rq, keys.scheduler_wake])
    return word.decode()


def counted_down(meta: bytes, left: int) -> bytes | None:
    """A job's stored meta with how many times are left; None where it does not say so, or can't be read here."""
    try:
        found: Any = DefaultSerializer.loads(meta)
    except Exception:  # noqa: BLE001  # the job's own classes, which this process may not have
        return None
    if not isinstance(found, dict) or "repeat" not in found:
        return None
    return bytes(DefaultSerializer.dumps({**found, "repeat": left}))
