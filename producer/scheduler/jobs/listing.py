"""What is scheduled: jobs of `FleetScheduler`, and runs of taskq that are due later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis import WatchError
from rq.exceptions import NoSuchJobError
from rq.job import Job

from taskq.producer.scheduler.jobs.handover import pairs
from taskq.producer.scheduler.jobs.repeats import Repeat
from taskq.producer.scheduler.jobs.times import Until
from taskq.registry.errors import FormatUnknown
from taskq.registry.keys import Keys
from taskq.registry.serializer import RunSerializer

if TYPE_CHECKING:
    from redis import Redis

T = TypeVar("T")
_CHUNK: Final = 500


class Found(list[T]):
    """What was found: a list, as rq-scheduler's README says, from which ``next`` takes as well, as from the generator of its code."""

    def __next__(self) -> T:
        if not self:
            raise StopIteration
        return self.pop(0)


class Listing:
    """Reads both sets, scored in seconds and in milliseconds, as one.

    Args:
        connection: to read over. ``keys``: of the namespace.
        job_class: RQ's `Job`, or a subclass.
    """

    def __init__(self, connection: Redis, keys: Keys, job_class: type[Job]) -> None:
        self._redis, self._keys, self._job_class = connection, keys, job_class

    def count(self, end: Until) -> int:
        """How many are due until then."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.zcount(self._keys.scheduler_jobs, "-inf", end.in_seconds())
            pipe.zcount(self._keys.scheduler_runs, "-inf", end.in_milliseconds())
            return int(sum(pipe.execute()))

    def is_run(self, job: str) -> bool | None:
        """Whether it is a run (False: a job); None where it is not scheduled."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.zscore(self._keys.scheduler_jobs, job)
            pipe.zscore(self._keys.scheduler_runs, job)
            as_job, as_run = pipe.execute()
        if as_job is not None:
            return False
        return None if as_run is None else True

    def jobs(self, end: Until, offset: int = 0, length: int = -1) -> Iterator[tuple[Job, float]]:
        """Those that are due until then, with when in s since the epoch, first ones first; jobs that have no hash any more are
        forgotten.

        Args:
            end: until when. ``offset``, ``length``: a slice of them; a negative length means all the rest.
        """
        most = -1 if length < 0 else offset + length
        with self._redis.pipeline(transaction=True) as pipe:
            for key, bound in ((self._keys.scheduler_jobs, end.in_seconds()), (self._keys.scheduler_runs, end.in_milliseconds())):
                pipe.zrange(key, "-inf", bound, byscore=True, offset=0, num=most, withscores=True)
            jobs, runs = pipe.execute()
        rows = [(score, job.decode(), False) for job, score in pairs(jobs)]
        rows += [(score / 1000, run.decode(), True) for run, score in pairs(runs)]
        rows.sort(key=lambda row: row[0])
        rows = rows[offset:] if length < 0 else rows[offset : offset + length]
        for at in range(0, len(rows), _CHUNK):
            yield from self._fetched(rows[at : at + _CHUNK])

    def run(self, run: str) -> Job:
        """RQ's view of a run of taskq."""
        return self._job_class.fetch(run, connection=self._redis, serializer=RunSerializer)

    def fetch(self, jobs: Sequence[str]) -> list[Job]:
        """The jobs of these ids that are there."""
        return [job for job, _ in self._fetched([(0.0, job, False) for job in jobs])]

    def _fetched(self, rows: Sequence[tuple[float, str, bool]]) -> Iterator[tuple[Job, float]]:
        with self._redis.pipeline(transaction=False) as pipe:
            for _, job, _ in rows:
                pipe.hgetall(self._job_class.key_for(job))
                pipe.hget(self._keys.scheduler_repeats, job)
            replies = pipe.execute()
        for at, (due, job, is_run) in enumerate(rows):
            made = self._restored(job, replies[2 * at], RunSerializer if is_run else None)
            if made is not None:
                _count(made, replies[2 * at + 1])
                yield made, due
            elif not is_run:
                self._forget(job)

    def _restored(self, job: str, fields: dict[Any, Any], serializer: Any) -> Job | None:
        if not fields:
            return None
        made = self._job_class(job, connection=self._redis, serializer=serializer)
        try:
            made.restore(fields)
        except NoSuchJobError:
            return None
        return made

    def _forget(self, job: str) -> None:
        """Schedule a job no longer, unless it has come back meanwhile."""
        key = self._job_class.key_for(job)
        with self._redis.pipeline(transaction=True) as pipe:
            try:
                pipe.watch(key)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
                if pipe.hexists(key, "data"):
                    return
                pipe.multi()
                pipe.zrem(self._keys.scheduler_jobs, job)
                pipe.hdel(self._keys.scheduler_repeats, job)
                pipe.execute()
            except WatchError:
                return


def _count(job: Job, stored: bytes | None) -> None:
    """Have ``meta`` say how many times are left: `taskq scheduler` counts in the record alone, since it unpickles nothing."""
    if stored is None or "repeat" not in job.meta:
        return
    with suppress(FormatUnknown):
        job.meta["repeat"] = Repeat.load(stored).left
