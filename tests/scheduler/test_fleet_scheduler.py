"""`FleetScheduler`'s methods, as rq-scheduler's README and code have them; on the embedded server and on fakeredis."""
# ruff: noqa: DTZ001, DTZ901  # times without a zone are what users of rq-scheduler write

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from rq.job import Job, JobStatus
from rq_scheduler import Scheduler
from support import jobs
from support.jobs import naive, now, queued, time_of

from taskq.producer.scheduler import FleetScheduler
from taskq.producer.scheduler.jobs.repeats import Repeat
from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings


@pytest.fixture
def scheduler(server: Redis, settings: Settings) -> FleetScheduler:
    return FleetScheduler(connection=server, settings=settings)


# -- what it is ------------------------------------------------------------------------------------------------
def test_it_is_an_rq_scheduler_on_keys_of_its_own(scheduler: FleetScheduler, keys: Keys) -> None:
    assert isinstance(scheduler, Scheduler)
    for name in ("redis_scheduler_namespace_prefix", "scheduler_key", "scheduler_lock_key", "scheduled_jobs_key"):
        assert getattr(FleetScheduler, name) != getattr(Scheduler, name)
        assert getattr(FleetScheduler, name) == getattr(scheduler, name), "the default namespace"
    assert (scheduler.scheduled_jobs_key, scheduler.scheduler_lock_key) == (keys.scheduler_jobs, keys.scheduler_jobs_lease)
    assert scheduler.key == keys.scheduler_instances + scheduler.name


def test_another_namespace_has_other_keys(server: Redis, settings: Settings, scheduler: FleetScheduler) -> None:
    other = FleetScheduler(connection=server, settings=settings.model_copy(update={"namespace": "blue"}))
    job = other.enqueue_in(timedelta(minutes=1), jobs.add, 1)
    assert other.scheduled_jobs_key.startswith("blue:")
    assert (job in other, job in scheduler) == (True, False)


@pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning:rq_scheduler")
def test_a_stock_scheduler_on_the_same_redis_neither_sees_nor_moves_our_jobs(scheduler: FleetScheduler, server: Redis) -> None:
    stock = Scheduler(connection=server, interval=1)
    ours = scheduler.enqueue_at(datetime(2020, 1, 1), jobs.add, 1)
    theirs = stock.enqueue_at(datetime(2020, 1, 1), jobs.add, 2)
    assert (ours in stock, theirs in scheduler) == (False, False)
    stock.enqueue_jobs()
    assert queued(server) == [theirs.id]
    scheduler.run(burst=True)
    assert queued(server) == [theirs.id, ours.id]


def test_a_connection_is_needed_unless_the_settings_name_a_server(
    settings: Settings, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FleetScheduler(settings=settings).count() == 0
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="`connection` argument is required"):
        FleetScheduler()


def test_a_connection_that_decodes_is_refused(settings: Settings) -> None:
    with Redis.from_url(str(settings.redis_url), decode_responses=True) as client, pytest.raises(InvalidInput, match="decode_responses"):
        FleetScheduler(connection=client, settings=settings)


def test_a_prefix_that_rq_does_not_have_in_this_process_is_refused(server: Redis, settings: Settings) -> None:
    with pytest.raises(InvalidInput, match=r"rq_prefix '\{x}:rq'"):
        FleetScheduler(connection=server, settings=settings.model_copy(update={"rq_prefix": "{x}:rq"}))


# -- enqueue_at, enqueue_in ------------------------------------------------------------------------------------
def test_enqueue_at_stores_a_job_that_anybody_can_fetch(scheduler: FleetScheduler, server: Redis) -> None:
    job = scheduler.enqueue_at(
        datetime(2040, 1, 1, 3, 4), jobs.add, 1, b=2, job_id="chosen", timeout="2m", job_ttl=60, job_result_ttl=90,
        job_description="adds", queue_name="sums", meta={"who": "me"}, at_front=True,
    )  # fmt: skip
    found = Job.fetch("chosen", connection=server)
    assert found == job
    assert (found.func, found.args, found.kwargs) == (jobs.add, (1,), {"b": 2})
    assert (found.timeout, found.ttl, found.result_ttl, found.description, found.origin) == (120, 60, 90, "adds", "sums")
    assert (found.meta, found.enqueue_at_front, found.get_status()) == ({"who": "me"}, True, JobStatus.SCHEDULED)
    assert time_of(scheduler, job) == datetime(2040, 1, 1, 3, 4)
    assert queued(server, "sums") == []


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (datetime(2040, 7, 1, 12), datetime(2040, 7, 1, 12)),
        (datetime(2040, 7, 1, 12, tzinfo=UTC), datetime(2040, 7, 1, 12)),
        (datetime.fromisoformat("2040-07-01T12:00:00+02:00"), datetime(2040, 7, 1, 10)),
        (datetime.fromisoformat("2040-07-01T12:00:00.123456-05:30"), datetime(2040, 7, 1, 17, 30, 0, 123456)),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000), datetime(1969, 12, 31, 23, 59, 59, 500_000)),
        (datetime.max, datetime.max),
    ],
)
def test_a_time_without_a_zone_is_utc_and_fractions_are_kept(scheduler: FleetScheduler, given: datetime, meant: datetime) -> None:
    assert time_of(scheduler, scheduler.enqueue_at(given, jobs.add, 1)) == meant


def test_enqueue_in_counts_from_redis_clock(scheduler: FleetScheduler, server: Redis) -> None:
    before = now(server)
    job = scheduler.enqueue_in(timedelta(hours=1, milliseconds=250), jobs.add, 1)
    due = time_of(scheduler, job).replace(tzinfo=UTC)
    assert before <= due - timedelta(hours=1, milliseconds=250) <= now(server)
    assert scheduler.enqueue_in(timedelta(seconds=-5), jobs.add, 1) in scheduler.get_jobs_to_queue()


def test_an_id_that_is_scheduled_again_is_the_new_job_alone(scheduler: FleetScheduler, server: Redis, keys: Keys) -> None:
    scheduler.schedule(datetime(2020, 1, 1), jobs.add, [1], interval=60, id="same")
    server.expire(keys.rq_job("same"), 30)
    job = scheduler.enqueue_at(datetime(2020, 1, 2), jobs.add, 2, job_id="same")
    assert scheduler.count() == 1
    assert server.ttl(keys.rq_job("same")) == -1, "the life of the earlier one does not end it"
    scheduler.run(burst=True)
    assert (queued(server), scheduler.count()) == ([job.id], 0)


@pytest.mark.parametrize("wrong", ["2040-01-01", 12, None])
def test_what_is_no_time_is_refused_by_name(scheduler: FleetScheduler, wrong: Any) -> None:
    with pytest.raises(TypeError, match="scheduled_time="):
        scheduler.enqueue_at(wrong, jobs.add)
    with pytest.raises(TypeError, match="time_delta="):
        scheduler.enqueue_in(wrong, jobs.add)
    with pytest.raises(TypeError, match="date_time="):
        scheduler.change_execution_time("x", wrong)
    assert scheduler.count() == 0


# -- schedule, cron --------------------------------------------------------------------------------------------
def test_schedule_keeps_interval_and_repeat_where_rq_scheduler_does(scheduler: FleetScheduler, server: Redis, keys: Keys) -> None:
    mine: dict[str, Any] = {"foo": "bar"}
    job = scheduler.schedule(datetime(2020, 1, 1), jobs.add, args=[1], kwargs={"b": 2}, interval=60, repeat=10, meta=mine)
    found = Job.fetch(job.id, connection=server)
    assert found.meta == {"foo": "bar", "interval": 60, "repeat": 10}
    assert (list(found.args), found.kwargs, found.result_ttl) == ([1], {"b": 2}, -1)
    assert job.meta is mine, "as in rq-scheduler"
    assert Repeat.load(server.hget(keys.scheduler_repeats, job.id) or b"") == Repeat(interval=60, left=10)


def test_result_ttl_of_a_periodic_job_can_be_chosen(scheduler: FleetScheduler) -> None:
    assert scheduler.schedule(datetime(2020, 1, 1), jobs.add, interval=60, result_ttl=90).result_ttl == 90
    assert scheduler.schedule(datetime(2020, 1, 1), jobs.add).result_ttl is None
    assert scheduler.cron("0 0 * * 0", jobs.add).result_ttl == -1
    assert scheduler.cron("0 0 * * 0", jobs.add, result_ttl=300, ttl=200, timeout=13).result_ttl == 300


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"repeat": 3}, "Can't repeat a job without interval argument"),
        ({"interval": -1}, "interval: -1"),
        ({"interval": "soon"}, "interval: 'soon'"),
        ({"interval": 0.01}, "interval=0.01 must be at least 0.1 s"),
        ({"interval": 60, "repeat": -1}, "repeat=-1"),
        ({"interval": 60, "repeat": "many"}, "repeat='many'"),
    ],
)
def test_how_it_repeats_is_checked(scheduler: FleetScheduler, given: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        scheduler.schedule(datetime(2020, 1, 1), jobs.add, **given)
    assert scheduler.count() == 0


def test_an_interval_of_nothing_is_a_job_that_runs_once(scheduler: FleetScheduler, server: Redis) -> None:
    job = scheduler.schedule(datetime(2020, 1, 1), jobs.add, [1], interval=0)
    assert scheduler.enqueue_jobs() == [job]
    assert scheduler.count() == 0


def test_repeat_counts_all_executions(scheduler: FleetScheduler, server: Redis, keys: Keys) -> None:
    job = scheduler.schedule(datetime(2020, 1, 1), jobs.add, [1], interval=0.1, repeat=3)
    for left in (2, 1, 0):
        assert scheduler.enqueue_jobs() == [job]
        assert Job.fetch(job.id, connection=server).meta["repeat"] == left
        if left:
            scheduler.change_execution_time(job, datetime(2020, 1, 1))
    assert queued(server) == [job.id] * 3
    assert (scheduler.count(), server.hlen(keys.scheduler_repeats)) == (0, 0)


@pytest.mark.parametrize("repeat", [0, 1])
def test_a_job_to_be_repeated_once_runs_once(scheduler: FleetScheduler, server: Redis, repeat: int) -> None:
    job = scheduler.schedule(datetime(2020, 1, 1), jobs.add, [1], interval=60, repeat=repeat)
    assert (scheduler.enqueue_jobs(), scheduler.enqueue_jobs()) == ([job], [])


def test_the_times_of_an_interval_do_not_drift(scheduler: FleetScheduler, server: Redis) -> None:
    first = naive(now(server)) - timedelta(seconds=95, milliseconds=250)
    job = scheduler.schedule(first, jobs.add, [1], interval=10)
    scheduler.enqueue_jobs()
    assert time_of(scheduler, job) == first + timedelta(seconds=100)
    assert queued(server) == [job.id], "what passed meanwhile is left out"


def test_cron_is_kept_where_rq_scheduler_does_and_goes_by_utc(scheduler: FleetScheduler, server: Redis) -> None:
    job = scheduler.cron("1 * * * *", jobs.add, args=[1], repeat=2)
    found = Job.fetch(job.id, connection=server)
    assert found.meta == {"cron_string": "1 * * * *", "use_local_timezone": False, "repeat": 2}
    due = time_of(scheduler, job)
    assert (due.minute, due.second, due.microsecond) == (1, 0, 0)
    assert timedelta(0) < due - naive(now(server)) <= timedelta(hours=1)


def test_cron_repeats_from_now_on_as_often_as_it_is_told(scheduler: FleetScheduler, server: Redis) -> None:
    job = scheduler.cron("0 6 1 1 *", jobs.add, args=[1], repeat=2)
    due = time_of(scheduler, job)
    for left in (1, 0):
        scheduler.change_execution_time(job, datetime(2020, 1, 1))
        assert scheduler.enqueue_jobs() == [job]
        assert scheduler.get_jobs(with_times=True) == ([(job, due)] if left else []), "years that have passed are left out"
    assert queued(server) == [job.id] * 2


@pytest.mark.parametrize("wrong", ["", "* * * *", "60 * * * *", "a b c d e", "0 0 30 2 *", "* * * * * *", 5, None])
def test_a_cron_string_that_is_none_is_refused(scheduler: FleetScheduler, wrong: Any) -> None:
    with pytest.raises(ValueError, match="cron"):
        scheduler.cron(wrong, jobs.add)
    assert scheduler.count() == 0


# -- looking at what is scheduled ------------------------------------------------------------------------------
def test_membership_by_job_and_by_id(scheduler: FleetScheduler) -> None:
    job = scheduler.enqueue_in(timedelta(minutes=1), jobs.add, 1)
    assert job in scheduler
    assert job.id in scheduler
    assert "another" not in scheduler
    with pytest.raises(TypeError, match="neither a job nor the id"):
        _ = 5 in scheduler


def test_count_and_get_jobs_until_a_datetime_a_duration_or_a_number(scheduler: FleetScheduler, server: Redis) -> None:
    moment = now(server).replace(microsecond=500_000)
    first, second, third = (scheduler.enqueue_at(moment + timedelta(hours=hours), jobs.add, 1) for hours in (0, 1, 2))
    second_s = int((moment + timedelta(hours=1)).timestamp())
    for until, expected in [
        (None, [first, second, third]),
        (moment + timedelta(hours=1), [first, second]),
        (naive(moment) + timedelta(hours=1), [first, second]),
        (timedelta(hours=1, seconds=1), [first, second]),
        (timedelta(minutes=59, seconds=58), [first]),
        (second_s, [first, second]),
        (second_s - 1, [first]),
        (second_s + 0.4, [first]),
        (second_s + 0.5, [first, second]),
        (float("inf"), [first, second, third]),
        (0, []),
    ]:
        assert list(scheduler.get_jobs(until)) == expected, until
        assert scheduler.count(until) == len(expected)
    with pytest.raises(TypeError, match="until='soon'"):
        scheduler.count("soon")  # type: ignore[arg-type]  # a mistake


def test_get_jobs_gives_a_list_from_which_next_takes_as_well(scheduler: FleetScheduler) -> None:
    one, two = (scheduler.enqueue_at(datetime(2040, 1, day), jobs.add, day) for day in (1, 2))
    found = scheduler.get_jobs()
    assert (found, len(found), found[0]) == ([one, two], 2, one)
    assert (next(found), next(found), next(found, None)) == (one, two, None)
    assert scheduler.get_jobs(with_times=True)[0] == (one, datetime(2040, 1, 1))


def test_get_jobs_gives_slices(scheduler: FleetScheduler) -> None:
    made = [scheduler.enqueue_at(datetime(2040, 1, day), jobs.add, day) for day in range(1, 8)]
    assert scheduler.get_jobs(offset=0, length=3) == made[:3]
    assert scheduler.get_jobs(offset=5, length=3) == made[5:]
    assert scheduler.get_jobs(until=datetime(2040, 1, 4), offset=2, length=5) == made[2:4]
    with pytest.raises(ValueError, match="offset and length"):
        scheduler.get_jobs(offset=1)


def test_get_jobs_forgets_a_job_that_was_deleted(scheduler: FleetScheduler, keys: Keys, server: Redis) -> None:
    kept, gone = (scheduler.schedule(datetime(2040, 1, 1), jobs.add, [number], interval=60) for number in (1, 2))
    gone.delete()
    server.hset(keys.rq_job(gone.id), "last_heartbeat", "x")  # what a worker may leave of it
    assert scheduler.get_jobs() == [kept]
    assert (scheduler.count(), server.hkeys(keys.scheduler_repeats)) == (1, [kept.id.encode()])


def test_get_jobs_to_queue_gives_those_that_are_due(scheduler: FleetScheduler, server: Redis) -> None:
    due = scheduler.enqueue_at(now(server), jobs.add, 1)
    later = scheduler.enqueue_in(timedelta(seconds=30), jobs.add, 1)
    assert scheduler.get_jobs_to_queue() == [due]
    assert [job for job, _ in scheduler.get_jobs_to_queue(with_times=True)] == [due]
    assert later in scheduler


# -- changing what is scheduled --------------------------------------------------------------------------------
def test_cancel_takes_a_job_or_an_id_and_returns_nothing(scheduler: FleetScheduler, server: Redis, keys: Keys) -> None:
    one, two = (scheduler.schedule(datetime(2020, 1, 1), jobs.add, [number], interval=60) for number in (1, 2))
    assert (scheduler.cancel(one), scheduler.cancel(two.id), scheduler.cancel("never was")) == (None, None, None)  # type: ignore[func-returns-value]  # that is what is tested
    assert (scheduler.count(), server.hlen(keys.scheduler_repeats)) == (0, 0)
    assert Job.exists(one.id, connection=server), "its record stays, as rq-scheduler leaves it"
    scheduler.run(burst=True)
    assert queued(server) == []


def test_change_execution_time_moves_a_job_and_where_it_repeats_from(scheduler: FleetScheduler, server: Redis) -> None:
    job = scheduler.schedule(datetime(2040, 1, 1), jobs.add, [1], interval=3600)
    moment = naive(now(server)) - timedelta(minutes=30)
    scheduler.change_execution_time(job, moment)
    assert time_of(scheduler, job) == moment
    scheduler.enqueue_jobs()
    assert time_of(scheduler, job) == moment + timedelta(hours=1)


def test_change_execution_time_refuses_what_is_not_scheduled(scheduler: FleetScheduler) -> None:
    job = scheduler.enqueue_in(timedelta(minutes=1), jobs.add, 1)
    scheduler.cancel(job)
    with pytest.raises(ValueError, match="Job not in scheduled jobs queue"):
        scheduler.change_execution_time(job, datetime(2040, 1, 1))
    assert job not in scheduler


def test_changes_wake_whoever_serves_the_jobs(scheduler: FleetScheduler, redis: Redis, settings: Settings, keys: Keys) -> None:
    real = FleetScheduler(connection=redis, settings=settings)
    with redis.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(keys.scheduler_wake)
        heard.get_message(timeout=5)
        job = real.enqueue_in(timedelta(minutes=1), jobs.add, 1)
        assert heard.get_message(timeout=5)
        real.change_execution_time(job, datetime(2040, 1, 1))
        assert heard.get_message(timeout=5)
