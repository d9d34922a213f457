"""`taskq scheduler` and `FleetScheduler(registry=True)`: they serve the jobs as well, and unpickle nothing; tasks become runs."""
# ruff: noqa: DTZ001  # times without a zone are what users of rq-scheduler write

from __future__ import annotations

import os
import pickle
import signal
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.job import Job
from support import hands, jobs
from support.command import Command
from support.jobs import Process, naive, now, queued, time_of
from support.waiting import until

from taskq import Task, task
from taskq.producer import Client
from taskq.producer.scheduler import FleetScheduler
from taskq.producer.scheduler.jobs.repeats import Repeat
from taskq.registry.errors import InvalidInput, NotFound, ServerUnreachable, Unsupported
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec
from taskq.registry.serializer import RunSerializer
from taskq.registry.settings import Settings

ADDING = """
from taskq import task

@task(queue="sums")
def add(a: int, b: int = 0) -> int:
    return a + b
"""


@task(queue="sums")
def add(a: int, b: int = 0) -> int:
    return a + b


class ImportData(Task[..., Any]):
    def execute(self, **params: Any) -> None: ...


@pytest.fixture
def scheduler(redis: Redis, settings: Settings) -> FleetScheduler:
    return FleetScheduler(connection=redis, settings=settings)


@pytest.fixture
def adding(redis: Redis, keys: Keys) -> None:
    """The task `add`, registered."""
    hands.put_task(redis, keys, "add", spec=Spec(queue="sums", parameters=hands.schema(a={"type": "integer"}, b={"type": "integer"})))


@pytest.fixture
def taskq(quick: Settings, tmp_path: Path) -> Command:
    made = Command(quick, tmp_path)
    made.environ["TASKQ_SCHEDULER_LEASE"] = "1"
    return made


@pytest.fixture
def running(taskq: Command, redis: Redis, keys: Keys) -> Iterator[None]:
    """`taskq scheduler`, leading."""
    process = taskq.start("scheduler")
    try:
        until(lambda: redis.exists(keys.scheduler_jobs_lease, keys.scheduler_lease) == 2, 20)
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, taskq.folder.joinpath("scheduler.log").read_text()
        assert not redis.exists(keys.scheduler_jobs_lease)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


# -- jobs ------------------------------------------------------------------------------------------------------
@pytest.mark.process
@pytest.mark.usefixtures("running")
def test_the_command_serves_the_jobs(scheduler: FleetScheduler, redis: Redis, quick: Settings) -> None:
    plain = scheduler.enqueue_in(timedelta(milliseconds=300), jobs.add, 1, b=2)
    again = scheduler.schedule(datetime(2020, 1, 1), jobs.add, [2], interval=0.2, repeat=3)
    cron = scheduler.cron("0 0 1 1 *", jobs.add, args=[3])
    first = time_of(scheduler, cron)
    scheduler.change_execution_time(cron, datetime(2020, 1, 1))
    until(lambda: sorted(queued(redis)) == sorted([plain.id, again.id, again.id, again.id, cron.id]), 20)
    jobs.work(quick)
    assert [job.return_value() for job in (plain, again, cron)] == [3, 2, 3]
    assert (again in scheduler, time_of(scheduler, cron)) == (False, first)


@pytest.mark.process
def test_both_kinds_take_the_same_lead(quick: Settings, tmp_path: Path, scheduler: FleetScheduler, redis: Redis, keys: Keys) -> None:
    # Given one of the registry, made in Python, and one for jobs alone that stands by
    registry = Process(quick, tmp_path, "registry", registry=True)
    until(lambda: redis.get(keys.scheduler_jobs_lease), 20, registry.text())
    alone = Process(quick, tmp_path, "alone")
    try:
        until(lambda: redis.exists(keys.scheduler_instances + "alone"), 20, alone.text())
        # When the first is killed
        registry.kill()
        job = scheduler.enqueue_in(timedelta(0), jobs.add, 1)
        # Then the other takes over
        until(lambda: queued(redis) == [job.id], 10)
        assert alone.end() == 0
    finally:
        jobs.kill_all([registry, alone])


def test_doctor_says_when_nobody_serves_the_jobs(scheduler: FleetScheduler, taskq: Command) -> None:
    def check() -> dict[str, Any]:
        (found,) = (row for row in taskq.json("doctor", code=None)["checks"] if row["name"] == "jobs")
        return dict(found)

    assert check() == {"name": "jobs", "ok": True, "detail": "0 jobs of FleetScheduler scheduled", "fix": None}
    scheduler.enqueue_in(timedelta(hours=1), jobs.add, 1)
    assert (check()["ok"], check()["detail"]) == (False, "1 job of FleetScheduler wait, and no scheduler hands them over")
    assert "taskq scheduler" in check()["fix"]
    scheduler.acquire_lock()
    assert check()["detail"] == f"1 job of FleetScheduler scheduled, {scheduler.name} hands them over"


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


@pytest.mark.process
@pytest.mark.usefixtures("running")
def test_nothing_of_a_job_is_unpickled(scheduler: FleetScheduler, redis: Redis, keys: Keys, tmp_path: Path) -> None:
    trap = pickle.dumps(Trap(str(tmp_path / "sprung")))
    moment = now(redis).timestamp() - 1
    for number in range(3):
        redis.hset(
            keys.rq_job(f"trap{number}"), mapping={"data": zlib.compress(trap), "meta": trap, "status": "scheduled", "origin": "default"}
        )
        redis.hset(keys.scheduler_repeats, f"trap{number}", Repeat(interval=0.1, left=3).dump())
        redis.zadd(keys.scheduler_jobs, {f"trap{number}": moment})
    redis.hset(keys.scheduler_repeats, "trap2", trap)  # not a record
    redis.publish(keys.scheduler_wake, "due")
    until(lambda: len(queued(redis)) == 6)
    assert not (tmp_path / "sprung").exists()
    assert redis.zrange(keys.scheduler_jobs, 0, -1) == [b"trap2"]


def test_what_the_command_counted_is_what_get_jobs_tells(scheduler: FleetScheduler, redis: Redis, keys: Keys) -> None:
    job = scheduler.schedule(datetime(2040, 1, 1), jobs.add, [1], interval=60, repeat=9)
    redis.hset(keys.scheduler_repeats, job.id, Repeat(interval=60, left=4).dump())  # which unpickles no meta, and so writes none
    assert scheduler.get_jobs()[0].meta == {"interval": 60, "repeat": 4}
    scheduler.enqueue_job(job)
    assert job.meta["repeat"] == 3


def test_what_a_scheduler_of_the_registry_can_not_start_with_is_said(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"redis_url": "redis://localhost:1", "connect_timeout": 0.2})
    with pytest.raises(InvalidInput, match="scheduler 'no spaces'"):
        FleetScheduler(settings=settings, name="no spaces", registry=True).run()
    with pytest.raises(ServerUnreachable):
        FleetScheduler(settings=nowhere, registry=True).run()
    with pytest.raises(ValueError, match="burst"):
        FleetScheduler(settings=settings, registry=True).run(burst=True)


# -- tasks -----------------------------------------------------------------------------------------------------
@pytest.mark.process
@pytest.mark.usefixtures("running")
def test_a_task_is_run_by_our_worker_when_it_is_due(scheduler: FleetScheduler, taskq: Command) -> None:
    taskq("register", str(taskq.write("add.py", ADDING)))
    worker = taskq.start("worker", "--queues", "sums", "--executors", "1")
    try:
        soon = scheduler.enqueue_in(timedelta(seconds=0.5), add, 1, b=2)
        past = scheduler.enqueue_at(datetime(2020, 1, 1), add, a=5)
        assert isinstance(soon, Job)
        assert (soon.get_status(), soon.kwargs, soon.origin) == ("scheduled", {"a": 1, "b": 2}, "taskq.sums")
        assert soon in scheduler
        until(lambda: soon.return_value(refresh=True) == 3, 20)
        until(lambda: past.return_value(refresh=True) == 5, 20)
        assert (soon in scheduler, scheduler.count()) == (False, 0)
    finally:
        worker.terminate()
        worker.wait(20)


@pytest.mark.usefixtures("adding")
def test_runs_and_jobs_are_listed_as_one(scheduler: FleetScheduler, redis: Redis, settings: Settings) -> None:
    at = [datetime(2030, 1, day, 12, tzinfo=UTC) for day in range(1, 7)]
    made = [scheduler.enqueue_at(moment, *((add, day) if day % 2 else (jobs.add, day))) for day, moment in enumerate(at)]
    with Client(redis, settings=settings) as client:
        assert client.run(made[1].id).document["due_at"] == "2030-01-02T12:00:00.000+00:00"
    assert scheduler.get_jobs(with_times=True) == [(job, naive(moment)) for job, moment in zip(made, at, strict=True)]
    assert [job.func_name for job in scheduler.get_jobs() if job.origin == "default"] == ["support.jobs.add"] * 3
    assert [job.kwargs for job in scheduler.get_jobs() if job.origin != "default"] == [{"a": day} for day in (1, 3, 5)]
    for count in range(7):
        assert scheduler.count(at[count - 1] if count else at[0] - timedelta(seconds=1)) == count
    for offset in range(6):
        assert scheduler.get_jobs(offset=offset, length=3) == made[offset : offset + 3]
    assert all(job in scheduler and job.id in scheduler for job in made)


@pytest.mark.usefixtures("adding")
def test_a_run_is_cancelled_and_put_to_another_time(scheduler: FleetScheduler, redis: Redis, keys: Keys, settings: Settings) -> None:
    kept, gone = scheduler.enqueue_in(timedelta(hours=1), add, 1), scheduler.enqueue_in(timedelta(hours=1), add, 2)
    # When
    scheduler.cancel(gone)
    scheduler.change_execution_time(kept, datetime(2030, 1, 1, 0, 0, 0, 123_400))
    # Then
    assert scheduler.get_jobs(with_times=True) == [(kept, datetime(2030, 1, 1, 0, 0, 0, 124_000))], "in whole ms, never early"
    with Client(redis, settings=settings) as client:
        assert (client.run(gone.id).status, client.run(kept.id).document["due_at"]) == ("cancelled", "2030-01-01T00:00:00.124+00:00")
    assert redis.zscore(keys.rq_registry("scheduled", "sums"), kept.id) == datetime(2030, 1, 1, 0, 0, 0, 123_400, UTC).timestamp()
    with pytest.raises(ValueError, match="Job not in scheduled jobs queue"):
        scheduler.change_execution_time(gone, datetime(2030, 1, 1))
    scheduler.cancel(gone)
    assert Job.fetch(kept.id, connection=redis, serializer=RunSerializer).get_status() == "scheduled"


@pytest.mark.usefixtures("adding")
def test_a_run_that_is_in_its_queue_is_not_cancelled(scheduler: FleetScheduler, redis: Redis, settings: Settings) -> None:
    run = scheduler.enqueue_at(datetime(2020, 1, 1), add, 1)
    scheduler.cancel(run)
    assert run.get_status() == "queued"


@pytest.mark.usefixtures("adding")
def test_parameters_are_validated_and_the_timeout_is_the_callers(scheduler: FleetScheduler) -> None:
    assert scheduler.enqueue_in(timedelta(hours=1), add, 1, timeout=7).timeout == 7
    assert scheduler.schedule(datetime(2030, 1, 1), add, [1], {"b": 2}, timeout="1m").kwargs == {"a": 1, "b": 2}
    with pytest.raises(InvalidInput, match="'one'"):
        scheduler.enqueue_in(timedelta(hours=1), add, "one")
    with pytest.raises(NotFound, match="import_data"):
        scheduler.enqueue_in(timedelta(hours=1), ImportData)
    assert scheduler.count() == 2


@pytest.mark.parametrize(
    "option", ["job_id", "job_ttl", "job_result_ttl", "job_description", "depends_on", "meta", "queue_name", "at_front"]
)
def test_what_a_task_declares_itself_is_refused_with_a_hint(scheduler: FleetScheduler, option: str) -> None:
    with pytest.raises(Unsupported, match=f"{option.removeprefix('job_')}='x' is not for add") as refused:
        scheduler.enqueue_in(timedelta(hours=1), add, 1, **{option: "x"})
    assert refused.value.hint


def test_a_task_declares_its_own_schedule(scheduler: FleetScheduler) -> None:
    for repeat in (
        lambda: scheduler.schedule(datetime(2030, 1, 1), add, [1], interval=60),
        lambda: scheduler.cron("0 0 * * *", add),
        lambda: scheduler.cron("0 0 * * *", ImportData),
    ):
        with pytest.raises(Unsupported, match="is a task of taskq") as refused:
            repeat()
        assert "@task(every=" in refused.value.hint
    assert scheduler.count() == 0
