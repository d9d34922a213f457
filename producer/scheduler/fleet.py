"""`FleetScheduler`: rq-scheduler's `Scheduler` on keys of our own, with handovers that lose and double nothing.

**The same** are the methods, their arguments and what they return, and the jobs: RQ jobs with RQ's serializer, put in the queue
that they name and executed by a stock ``rq worker``. A stock rq-scheduler on the same Redis sees none of them.

**Different** is what rq-scheduler gets wrong or leaves to chance:

- Job, time and record are written in one MULTI; a due job is handed over in one step of a script. A scheduler that is killed at any
  point loses and doubles nothing; a second one stands by and takes over.
- Nothing is early: fractions of a second count, and Redis' clock decides. `run` sleeps until the next job is due or a new one comes;
  ``interval`` is the longest that it sleeps.
- A job with an interval is due at its first time plus whole intervals, however late one of them was moved.
- ``cron`` with ``use_local_timezone=False`` goes by UTC, with ``True`` by the zone of the machine that scheduled the job.
- ``at_front`` is stored, `change_execution_time` is atomic, `get_jobs` gives the list that the README promises.
- How a job repeats is read from a record of ours. ``meta`` says the same, for who reads it; to change it, schedule the job anew
  under its id. `run` hands jobs over without `enqueue_job`, which stays for use by hand; of queue and job classes of the user's own it
  takes the prefixes of their keys and the default timeout, and runs none of their code.
- A job that ``Job.cancel`` of RQ has cancelled is forgotten, as one that was deleted.

A task of taskq given to `enqueue_at` or `enqueue_in` becomes a run of ours (`jobs.tasks`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from rq.defaults import RQ_KEY_PREFIX
from rq.job import Job
from rq_scheduler import Scheduler

from taskq.producer.scheduler.jobs import times
from taskq.producer.scheduler.jobs.blocking import Life
from taskq.producer.scheduler.jobs.duty import Duty
from taskq.producer.scheduler.jobs.handover import Mover
from taskq.producer.scheduler.jobs.listing import Found, Listing
from taskq.producer.scheduler.jobs.planning import Plans, counted_down
from taskq.producer.scheduler.jobs.repeats import Repeat, by_cron, every, how_often
from taskq.producer.scheduler.jobs.tasks import TaskRuns, is_task, refuse_repeat
from taskq.producer.scheduler.process import run_scheduler
from taskq.registry.connect import connect, with_server
from taskq.registry.effects import run_sync
from taskq.registry.errors import InvalidInput, ServerUnreachable
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

_DEFAULT: Final = Keys()
# Options that `enqueue_at` takes out of the function's keyword arguments → what the other methods call them.
_OPTIONS: Final = {
    "timeout": "timeout", "job_id": "id", "job_ttl": "ttl", "job_result_ttl": "result_ttl", "job_description": "description",
    "depends_on": "depends_on", "meta": "meta", "queue_name": "queue_name", "on_success": "on_success", "on_failure": "on_failure",
    "at_front": "at_front",
}  # fmt: skip


class FleetScheduler(Scheduler):  # type: ignore[misc]  # rq_scheduler has no types
    """A `rq_scheduler.Scheduler`.

    Args:
        queue_name, queue: where jobs go that name no queue; ``queue`` (an RQ queue) wins.
        interval: longest sleep of `run`, in seconds.
        connection: a client of redis-py (without ``decode_responses``); the settings' server if None.
        job_class, queue_class: RQ's, or subclasses of them, or their dotted names.
        name: of this scheduler, unique; random if None.
        settings: of the namespace; from the environment if None.
        registry: have `run` do what `taskq scheduler` does: serve the registry's schedules and the runs that are due later as well,
            and unpickle nothing.

    Raises:
        ValueError: there is no connection, and the settings name no server (with ``registry``: ServerUnreachable).
        InvalidInput: the connection or a setting can't be used.
    """

    redis_scheduler_namespace_prefix = _DEFAULT.scheduler_instances
    scheduler_key = _DEFAULT.scheduler_instances.rstrip(":")
    scheduler_lock_key = _DEFAULT.scheduler_jobs_lease
    scheduled_jobs_key = _DEFAULT.scheduler_jobs

    def __init__(  # noqa: PLR0917  # rq-scheduler's arguments
        self,
        queue_name: str = "default",
        queue: Any = None,
        interval: float = 60,
        connection: Any = None,
        job_class: Any = None,
        queue_class: Any = None,
        name: str | None = None,
        *,
        settings: Settings | None = None,
        registry: bool = False,
    ) -> None:
        self.settings = Settings.load() if settings is None else settings
        self.keys = keys = Keys(self.settings.namespace, self.settings.rq_prefix)
        super().__init__(queue_name, queue, interval, _checked(connection, self.settings, registry=registry), job_class, queue_class, name)
        self.redis_scheduler_namespace_prefix = keys.scheduler_instances
        self.scheduler_key = keys.scheduler_instances.rstrip(":")
        self.scheduler_lock_key = keys.scheduler_jobs_lease
        self.scheduled_jobs_key = keys.scheduler_jobs
        self._server = with_server(self.settings, connection) if registry else None
        self._given_name = name
        self._plans = Plans(self.connection, keys)
        self._listing = Listing(self.connection, keys, self.job_class)
        self._runs = TaskRuns(self.connection, self.settings, keys)
        self._mover = Mover(keys, counted_down)
        self._duty = Duty(self.settings, keys, self.name, self._mover, interval)

    # -- scheduling ----------------------------------------------------------------------------------------
    def enqueue_at(self, scheduled_time: datetime, func: Any, *args: Any, **kwargs: Any) -> Job:
        """Have ``func`` executed at a time (one without a zone is UTC); one that has passed means now.

        The remaining arguments are the function's, but for ``timeout``, ``job_id``, ``job_ttl``, ``job_result_ttl``,
        ``job_description``, ``depends_on``, ``meta``, ``queue_name``, ``on_success``, ``on_failure`` and ``at_front``, which are the
        job's. A task of taskq becomes a run, which is returned as RQ's `Job`, and which `taskq scheduler` starts, not `run`.

        Raises:
            TypeError: ``scheduled_time`` is no datetime.
            Unsupported: an option that a task of taskq declares itself.
            InvalidInput, NotFound, TaskRetired: the run of a task was refused.
        """
        return self._plan(times.aware(scheduled_time), func, args, kwargs, _options(kwargs), Repeat(), {})

    def enqueue_in(self, time_delta: timedelta, func: Any, *args: Any, **kwargs: Any) -> Job:
        """The same as `enqueue_at`, so long from now by Redis' clock."""
        return self._plan(times.span(time_delta), func, args, kwargs, _options(kwargs), Repeat(), {})

    def schedule(  # noqa: PLR0913, PLR0917  # rq-scheduler's arguments
        self,
        scheduled_time: datetime,
        func: Any,
        args: Any = None,
        kwargs: Any = None,
        interval: Any = None,
        repeat: int | None = None,
        result_ttl: int | None = None,
        ttl: int | None = None,
        timeout: Any = None,
        id: str | None = None,  # noqa: A002  # rq-scheduler's name
        description: str | None = None,
        queue_name: str | None = None,
        meta: dict[str, Any] | None = None,
        depends_on: Any = None,
        on_success: Any = None,
        on_failure: Any = None,
        at_front: bool | None = None,
    ) -> Job:
        """Have ``func`` executed at a time, and then again each ``interval`` seconds, ``repeat`` times in all (None: for ever).

        Raises:
            ValueError: ``repeat`` without ``interval``, or one of them can't be.
            Unsupported: a task of taskq with an interval; it declares its own.
        """
        period, count = every(interval), how_often(repeat)
        if count and interval is None:
            raise ValueError("Can't repeat a job without interval argument")
        if interval is not None:
            refuse_repeat(func, f"schedule(interval={interval!r})")
            result_ttl = -1 if result_ttl is None else result_ttl
        options = {
            "result_ttl": result_ttl, "ttl": ttl, "timeout": timeout, "id": id, "description": description, "queue_name": queue_name,
            "meta": meta, "depends_on": depends_on, "on_success": on_success, "on_failure": on_failure, "at_front": at_front,
        }  # fmt: skip
        rule = Repeat(interval=period, left=count) if period else Repeat()
        said = {name: value for name, value in (("interval", period), ("repeat", count)) if value is not None}
        return self._plan(times.aware(scheduled_time), func, args, kwargs, options, rule, said)

    def cron(  # noqa: PLR0913, PLR0917  # rq-scheduler's arguments
        self,
        cron_string: str,
        func: Any,
        args: Any = None,
        kwargs: Any = None,
        repeat: int | None = None,
        queue_name: str | None = None,
        result_ttl: int | None = -1,
        ttl: int | None = None,
        id: str | None = None,  # noqa: A002  # rq-scheduler's name
        timeout: Any = None,
        description: str | None = None,
        meta: dict[str, Any] | None = None,
        use_local_timezone: bool = False,
        depends_on: Any = None,
        on_success: Any = None,
        on_failure: Any = None,
        at_front: bool = False,
    ) -> Job:
        """Have ``func`` executed at the times of a cron expression, ``repeat`` times in all (None: for ever).

        Args:
            cron_string: five fields (minute hour day month weekday), or ``@hourly``, ``@daily`` …
            use_local_timezone: it is meant in this machine's time zone, else in UTC.

        Raises:
            ValueError: it is no such expression, or never comes; ``repeat`` can't be; this machine's zone has no name.
            Unsupported: ``func`` is a task of taskq; it declares its own.
        """
        refuse_repeat(func, f"cron({cron_string!r})")
        rule = by_cron(cron_string, local=use_local_timezone, left=how_often(repeat))
        first = rule.first_time(self._now())
        if first is None:
            raise ValueError(f"cron {cron_string!r} never comes again")
        options = {
            "result_ttl": result_ttl, "ttl": ttl, "timeout": timeout, "id": id, "description": description, "queue_name": queue_name,
            "meta": meta, "depends_on": depends_on, "on_success": on_success, "on_failure": on_failure, "at_front": at_front,
        }  # fmt: skip
        said: dict[str, Any] = {"cron_string": cron_string, "use_local_timezone": use_local_timezone}
        said |= {} if rule.left is None else {"repeat": rule.left}
        return self._plan(times.from_unix(first), func, args, kwargs, options, rule, said)

    def _plan(  # noqa: PLR0917  # what the methods above have in common
        self, when: datetime | timedelta, func: Any, args: Any, kwargs: Any, options: dict[str, Any], repeat: Repeat, said: dict[str, Any]
    ) -> Job:
        if is_task(func):
            run = self._runs.enqueue(func, args or (), kwargs or {}, options, when)
            return self._listing.run(run)
        due = self._now() + when.total_seconds() if isinstance(when, timedelta) else times.to_unix(when)
        at_front = options.pop("at_front")
        job: Job = self._create_job(func, args=args, kwargs=kwargs, commit=False, **options)
        job.meta.update(said)  # the caller's own mapping, as in rq-scheduler
        if at_front:
            job.enqueue_at_front = True
        self._plans.add(job, self.get_queue_for_job(job), due, repeat)
        return job

    # -- what is scheduled ---------------------------------------------------------------------------------
    def cancel(self, job: Job | str) -> None:
        """Schedule a job (or its id) no longer; returns None whether it was scheduled or not. Its hash stays, as in rq-scheduler.

        A run of a task of taskq is cancelled.
        """
        known = _id(job)
        if self._listing.is_run(known):
            self._runs.cancel(known)
        else:
            self._plans.drop(known)

    def __contains__(self, item: object) -> bool:
        """Whether a job, or the job of an id, is scheduled."""
        return self._listing.is_run(_id(item)) is not None

    def change_execution_time(self, job: Job | str, date_time: datetime) -> None:
        """Have a job that is scheduled executed at another time (one without a zone is UTC); it then repeats from there.

        Raises:
            ValueError: it is not scheduled (any more).
        """
        if not self._plans.retime(_id(job), times.to_unix(date_time, "date_time")):
            raise ValueError("Job not in scheduled jobs queue")

    def count(self, until: times.UNTIL = None) -> int:
        """How many jobs are scheduled, of all queues, until a datetime, for a timedelta, or until seconds since the epoch."""
        return self._listing.count(times.until(until, self._now))

    def get_jobs(
        self, until: times.UNTIL = None, with_times: bool = False, offset: int | None = None, length: int | None = None
    ) -> Found[Any]:
        """The jobs that are scheduled until then (see `count`), those due first ahead.

        Args:
            until: None for all.
            with_times: give pairs of a job and its time, a datetime in UTC without a zone.
            offset, length: only this slice of them; both or neither.

        Raises:
            ValueError: ``offset`` without ``length``, or the reverse.
        """
        if (offset is None) != (length is None):
            raise ValueError("offset and length must both be specified")
        found = self._listing.jobs(times.until(until, self._now), offset or 0, -1 if length is None else length)
        return Found((job, times.from_unix(due).replace(tzinfo=None)) if with_times else job for job, due in found)

    def get_jobs_to_queue(self, with_times: bool = False) -> Found[Any]:
        """The jobs that are due by now; otherwise as `get_jobs`."""
        return self.get_jobs(self._now(), with_times=with_times)

    # -- handing over --------------------------------------------------------------------------------------
    def enqueue_job(self, job: Job) -> None:
        """Put a job in its queue now, due or not, with all that the object says; schedule it for its next time if it repeats."""
        self.log.debug("Pushing %s to %s", job.id, job.origin)
        self._plans.hand_over(job, self.get_queue_for_job(job))

    def enqueue_jobs(self) -> list[Job]:
        """Hand over all jobs that are due, and return those. It needs no lock: what somebody else takes at the same moment is his."""
        return self._listing.fetch(self._move_all())

    def acquire_lock(self) -> bool:
        """Take the lead, which lasts ``settings.scheduler_lease``, or renew it; False where another scheduler has it."""
        self._lock_acquired = bool(run_sync(self._duty.take(), self.connection).token)
        return self._lock_acquired

    def remove_lock(self) -> None:
        """Give the lead up, if it is ours."""
        self._lock_acquired = False
        run_sync(self._duty.give_up(), self.connection)

    def run(self, burst: bool = False, *, dedicated: bool = False) -> None:
        """Serve the scheduled jobs until SIGTERM or SIGINT, which raises SystemExit.

        Of the schedulers on the same Redis one leads, the others stand by.

        Args:
            burst: hand over what is due, and return.
            dedicated: this process is nothing but a scheduler of the registry: it is made unreadable to others of its user.

        Raises:
            ValueError: a scheduler of this name is alive, or one of the registry was asked for a burst.
            ServerUnreachable: a scheduler of the registry can't reach Redis at its start.
        """
        if self._server is not None:
            if burst:
                raise ValueError("burst=True is for a scheduler that serves its own jobs; one of the registry runs until it is stopped")
            raise SystemExit(run_scheduler(self._server, self._given_name, dedicated=dedicated))
        Life(self, (lambda _: float(len(self._move_all()))) if burst else self._look).live(once=burst)

    def _look(self, woken: bool) -> float:  # as `Life` calls it
        return run_sync(self._duty.look(woken=woken), self.connection)

    def _move_all(self) -> list[str]:
        """Hand over all that is due; the ids of the jobs."""
        found: list[str] = []
        while True:
            moved = run_sync(self._mover.move_due(""), self.connection)
            found += moved.jobs
            if moved.next is None or moved.next > moved.now:
                return found

    def _now(self) -> float:
        """Redis' clock, in s since the epoch."""
        seconds, micros = self.connection.time()
        return float(seconds + micros / 1e6)


def _options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The job's options, taken out of the keyword arguments of `FleetScheduler.enqueue_at`."""
    return {name: kwargs.pop(given, None) for given, name in _OPTIONS.items()}


def _checked(connection: Any, settings: Settings, *, registry: bool) -> Any:
    """The connection to use; errors as `FleetScheduler` says."""
    if settings.rq_prefix != RQ_KEY_PREFIX:
        raise InvalidInput(
            f"rq_prefix {settings.rq_prefix!r}: RQ itself was loaded with {RQ_KEY_PREFIX!r} in this process",
            hint="set RQ_KEY_PREFIX before the program starts",
        )
    if connection is not None:
        return connection
    try:
        return connect(settings)
    except ServerUnreachable as error:
        if registry:
            raise
        raise ValueError(f"`connection` argument is required: {error}") from None


def _id(item: object) -> str:
    """The id of a job, or the id itself."""
    found = getattr(item, "id", item)
    if isinstance(found, bytes):
        return found.decode()
    if not isinstance(found, str):
        raise TypeError(f"{item!r} is neither a job nor the id of one")
    return found
