"""How `FleetScheduler` hands jobs over that are due, and what it leaves of them; on the embedded server and on fakeredis."""
# ruff: noqa: DTZ001  # times without a zone are what users of rq-scheduler write

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError  # noqa: A004  # redis-py's name
from rq import Callback, Queue
from rq.job import Dependency, Job, JobStatus
from support import jobs
from support.jobs import now, queued, time_of

from taskq.producer.scheduler import FleetScheduler
from taskq.producer.scheduler.jobs.repeats import Repeat
from taskq.registry.errors import ServerUnreachable
from taskq.registry.keys import Keys
from taskq.registry.scripts import Script
from taskq.registry.settings import Settings


@pytest.fixture
def scheduler(server: Redis, settings: Settings) -> FleetScheduler:
    return FleetScheduler(connection=server, settings=settings)


def test_a_job_that_is_handed_over_is_as_rqs_own_enqueueing_leaves_it(scheduler: FleetScheduler, server: Redis) -> None:
    job = scheduler.enqueue_at(datetime(2020, 1, 1), jobs.add, 1, b=2, meta={"who": "me"}, queue_name="sums")
    like = Queue("sums", connection=server).enqueue_call(jobs.add, (1,), {"b": 2}, meta={"who": "me"})
    scheduler.run(burst=True)
    ours, theirs = (server.hgetall(found.key) for found in (job, like))
    moments = {b"created_at", b"enqueued_at"}
    assert {name: value for name, value in ours.items() if name not in moments} == {
        name: value for name, value in theirs.items() if name not in moments
    }
    enqueued = Job.fetch(job.id, connection=server).enqueued_at
    assert enqueued is not None
    assert abs(enqueued - now(server)) < timedelta(seconds=30)
    assert queued(server, "sums") == [like.id, job.id]
    assert Queue("sums", connection=server) in Queue.all(connection=server)


def test_at_front_goes_ahead(scheduler: FleetScheduler, server: Redis) -> None:
    back = scheduler.enqueue_at(datetime(2020, 1, 1), jobs.add, 1)
    front = scheduler.enqueue_at(datetime(2020, 1, 2), jobs.add, 1, at_front=True)
    cron = scheduler.cron("* * * * *", jobs.add, at_front=True)
    scheduler.change_execution_time(cron, datetime(2020, 1, 3))
    scheduler.run(burst=True)
    assert queued(server) == [cron.id, front.id, back.id]


def test_ttl_begins_in_the_queue(scheduler: FleetScheduler, server: Redis, keys: Keys) -> None:
    job = scheduler.enqueue_at(datetime(2020, 1, 1), jobs.add, 1, job_ttl=120)
    assert server.ttl(keys.rq_job(job.id)) == -1
    scheduler.run(burst=True)
    assert 0 < server.ttl(keys.rq_job(job.id)) <= 120


def test_a_job_that_can_not_be_handed_over_holds_up_nobody(
    scheduler: FleetScheduler, server: Redis, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a queue whose key somebody else has taken, and a life that is longer than Redis can count
    spoilt = scheduler.enqueue_at(datetime(2020, 1, 1), jobs.add, 1, queue_name="taken")
    server.set(f"{Queue.redis_queue_namespace_prefix}taken", "no list")
    endless = scheduler.enqueue_at(datetime(2020, 1, 2), jobs.add, 2)
    server.hset(keys.rq_job(endless.id), "ttl", "1e20")
    last = scheduler.enqueue_at(datetime(2020, 1, 3), jobs.add, 3)
    # When all are due
    scheduler.run(burst=True)
    # Then the others go once each, and the first stays and is named
    assert queued(server) == [endless.id, last.id]
    assert server.ttl(keys.rq_job(endless.id)) == -1
    assert spoilt.id in scheduler and endless.id not in scheduler
    assert spoilt.id in caplog.text


def test_a_job_that_depends_on_another_waits_for_it(scheduler: FleetScheduler, redis: Redis, settings: Settings) -> None:
    # Given a job that depends on one that fails, and one that does not mind
    real = FleetScheduler(connection=redis, settings=settings)
    queue = Queue(connection=redis)
    parent, failing = queue.enqueue(jobs.add, 1), queue.enqueue(jobs.fail)
    child = real.enqueue_at(datetime(2020, 1, 1), jobs.add, 2, depends_on=parent)
    tolerant = real.enqueue_at(datetime(2020, 1, 1), jobs.add, 3, depends_on=Dependency([failing], allow_failure=True))
    stuck = real.enqueue_at(datetime(2020, 1, 1), jobs.add, 4, depends_on=[parent.id, failing.id])
    # When they are due before those have run
    real.run(burst=True)
    assert {job.get_status() for job in (child, tolerant, stuck)} == {JobStatus.DEFERRED}
    assert set(queue.deferred_job_registry.get_job_ids()) == {child.id, tolerant.id, stuck.id}
    jobs.work(settings)
    # Then a stock worker starts those that may
    assert (child.return_value(), tolerant.return_value()) == (2, 3)
    assert stuck.get_status() == JobStatus.DEFERRED
    # And one that is due when those have run starts at once
    late = real.enqueue_at(datetime(2020, 1, 1), jobs.add, 5, depends_on=parent)
    real.run(burst=True)
    assert queue.job_ids == [late.id]


def test_a_job_that_was_deleted_or_cancelled_through_rq_is_forgotten(scheduler: FleetScheduler, server: Redis, keys: Keys) -> None:
    deleted, cancelled, kept = (scheduler.schedule(datetime(2020, 1, 1), jobs.add, [number], interval=60) for number in range(3))
    deleted.delete()
    cancelled.cancel()
    assert scheduler.enqueue_jobs() == [kept]
    assert scheduler.get_jobs() == [kept]
    assert server.hkeys(keys.scheduler_repeats) == [kept.id.encode()]


def test_enqueue_job_by_hand_puts_it_in_its_queue_with_all_that_the_object_says(scheduler: FleetScheduler, server: Redis) -> None:
    job = scheduler.schedule(datetime(2040, 1, 1), jobs.add, [1], interval=10, repeat=3, queue_name="sums")
    job.timeout, job.meta["more"] = 77, 1
    scheduler.enqueue_job(job)
    found = Job.fetch(job.id, connection=server)
    assert (found.timeout, found.meta, found.get_status()) == (77, {"interval": 10, "repeat": 2, "more": 1}, JobStatus.QUEUED)
    assert (job.meta["repeat"], job.get_status(refresh=False), job.enqueued_at) == (2, JobStatus.QUEUED, found.enqueued_at)
    assert queued(server, "sums") == [job.id]
    assert now(server) < time_of(scheduler, job).replace(tzinfo=UTC) <= now(server) + timedelta(seconds=10)
    scheduler.enqueue_job(job)
    scheduler.enqueue_job(job)
    assert (job.meta["repeat"], job in scheduler, len(queued(server, "sums"))) == (0, False, 3)


def test_enqueue_job_takes_the_cron_string_that_the_object_has_now(scheduler: FleetScheduler) -> None:
    job = scheduler.cron("1 * * * *", jobs.add)
    job.meta["cron_string"] = "2 * * * *"
    scheduler.enqueue_job(job)
    assert time_of(scheduler, job).minute == 2


def test_enqueue_job_takes_a_job_that_is_not_scheduled(scheduler: FleetScheduler, server: Redis) -> None:
    job = scheduler.enqueue_in(timedelta(hours=1), jobs.add, 1)
    scheduler.cancel(job)
    scheduler.enqueue_job(job)
    assert (queued(server), scheduler.count()) == ([job.id], 0)


def test_get_queue_for_job_is_the_queue_that_the_job_names(scheduler: FleetScheduler, server: Redis) -> None:
    job = scheduler.enqueue_in(timedelta(hours=1), jobs.add, 1, queue_name="sums")
    assert scheduler.get_queue_for_job(job) == Queue("sums", connection=server)


def test_the_queue_may_be_given_as_a_queue_or_as_a_name(server: Redis, settings: Settings) -> None:
    by_queue = FleetScheduler(queue=Queue("bar", connection=server), connection=server, settings=settings)
    by_name = FleetScheduler("foo", connection=server, settings=settings)
    for scheduler in (by_queue, by_name):
        scheduler.enqueue_at(datetime(2020, 1, 1), jobs.add, 1)
    by_name.run(burst=True)
    assert (len(queued(server, "foo")), len(queued(server, "bar"))) == (1, 1)


def test_classes_of_the_users_own_are_used(server: Redis, settings: Settings) -> None:
    named = FleetScheduler("foo", queue_class="support.jobs.OwnQueue", job_class=jobs.OwnJob, connection=server, settings=settings)
    job = named.enqueue_at(datetime(2020, 1, 1), jobs.add, 1)
    assert isinstance(job, jobs.OwnJob)
    # Whoever moves it need not know the classes
    FleetScheduler(connection=server, settings=settings).run(burst=True)
    assert server.lrange("own:queue:foo", 0, -1) == [job.id.encode()]
    assert server.hmget("own:job:" + job.id, "status", "timeout") == [b"queued", b"7"]


def test_callbacks_are_kept(scheduler: FleetScheduler, server: Redis) -> None:
    job = scheduler.enqueue_at(datetime(2040, 1, 1), jobs.add, 1, on_success=Callback(jobs.told), on_failure=Callback(jobs.told))
    found = Job.fetch(job.id, connection=server)
    assert (found.success_callback, found.failure_callback) == (jobs.told, jobs.told)


def test_a_record_of_another_release_is_left_where_it_is_and_holds_up_nobody(
    scheduler: FleetScheduler, server: Redis, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    odd = scheduler.schedule(datetime(2020, 1, 1), jobs.add, [1], interval=60)
    server.hset(keys.scheduler_repeats, odd.id, b"\xc1\x63\x80")
    lost = scheduler.schedule(datetime(2020, 1, 1), jobs.add, [1], interval=60)
    server.hset(keys.scheduler_repeats, lost.id, Repeat(cron="0 0 * * *", timezone="Mars/Olympus").dump())
    plain = [scheduler.enqueue_at(datetime(2020, 1, 2) + timedelta(seconds=number), jobs.add, number) for number in range(150)]
    assert scheduler.enqueue_jobs() == plain
    assert scheduler.enqueue_jobs() == []
    assert set(scheduler.get_jobs()) == {odd, lost}
    assert sum("is not handed over" in line for line in caplog.messages) == 2, "each is named once"


def test_the_lock_is_a_lead_that_one_has(scheduler: FleetScheduler, server: Redis, settings: Settings) -> None:
    other = FleetScheduler(connection=server, settings=settings)
    assert scheduler.acquire_lock() is True
    assert (other.acquire_lock(), scheduler.acquire_lock()) == (False, True)
    other.remove_lock()
    assert not other.acquire_lock(), "only who has it gives it up"
    scheduler.remove_lock()
    assert other.acquire_lock()


def test_birth_and_death_are_recorded_as_in_rq_scheduler(server: Redis, settings: Settings) -> None:
    scheduler = FleetScheduler(connection=server, settings=settings, interval=20, name="one")
    scheduler.register_birth()
    assert (server.ttl(scheduler.key), server.hexists(scheduler.key, "death")) == (30, False)
    with pytest.raises(ValueError, match="already an active RQ scheduler named: 'one'"):
        FleetScheduler(connection=server, settings=settings, name="one").register_birth()
    server.expire(scheduler.key, 5)
    scheduler.heartbeat()
    assert server.ttl(scheduler.key) == 30
    scheduler.register_death()
    assert server.hexists(scheduler.key, "death")


@pytest.mark.parametrize("executed", [False, True])
def test_a_reply_that_is_lost_loses_and_doubles_nothing(
    scheduler: FleetScheduler, server: Redis, monkeypatch: pytest.MonkeyPatch, executed: bool
) -> None:
    # Given a server whose connection breaks once for each job, before or after it has handed the job over
    call, met = Script.call, set()

    def breaking(script: Script, redis: Redis, names: Any, args: Any) -> Any:
        first = script.name == "handover" and args[1] not in met
        reply = call(script, redis, names, args) if executed or not first else None
        if first:
            met.add(args[1])
            raise ConnectionError("broken")
        return reply

    monkeypatch.setattr(Script, "call", breaking)
    once = [scheduler.enqueue_at(datetime(2020, 1, 1), jobs.add, number) for number in range(5)]
    again = [scheduler.schedule(datetime(2020, 1, 1), jobs.add, [number], interval=3600, repeat=3) for number in range(5)]
    # When it is tried again until all is done
    for _ in range(10):
        with pytest.raises(ServerUnreachable):
            scheduler.enqueue_jobs()
    scheduler.enqueue_jobs()
    # Then
    assert sorted(queued(server)) == sorted(job.id for job in once + again)
    assert [job.meta["repeat"] for job in scheduler.get_jobs()] == [2] * 5
