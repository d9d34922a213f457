"""`FleetScheduler.run`: what is due is handed over in time, once, whatever is killed; stock workers run it."""
# ruff: noqa: DTZ001  # times without a zone are what users of rq-scheduler write

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job
from rq_scheduler import Scheduler
from support import jobs
from support.command import environment
from support.jobs import Process, now, queued
from support.waiting import until

from taskq.producer.scheduler import FleetScheduler
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

pytestmark = pytest.mark.process
Start = Callable[..., Process]


@pytest.fixture
def start(quick: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts a process that runs a scheduler, and returns once it leads or stands by."""
    started: list[Process] = []

    def begin(name: str, *, settings: Settings = quick, ready: bool = True, **options: Any) -> Process:
        made = Process(settings, tmp_path, name, **options)
        started.append(made)
        if ready:
            with Redis.from_url(str(settings.redis_url)) as client:
                keys = Keys(settings.namespace, settings.rq_prefix)
                until(lambda: client.exists(keys.scheduler_instances + name, keys.scheduler_jobs_lease) == 2, 20, f"{name}\n{made.text()}")
        return made

    yield begin
    jobs.kill_all(started)


@pytest.fixture
def scheduler(redis: Redis, settings: Settings) -> FleetScheduler:
    return FleetScheduler(connection=redis, settings=settings)


def leader(redis: Redis, keys: Keys) -> str:
    value = redis.get(keys.scheduler_jobs_lease)
    return value.decode().partition("|")[2] if value else ""


# -- its life --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_system_exit_and_nothing_is_left(
    scheduler: FleetScheduler, redis: Redis, keys: Keys, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    job = scheduler.enqueue_at(datetime(2020, 1, 1), jobs.add, 1)

    def send() -> None:
        until(lambda: queued(redis) == [job.id])
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(SystemExit) as ended:
        scheduler.run()
    thread.join()
    assert ended.value.code is None
    assert not redis.exists(keys.scheduler_jobs_lease)
    assert redis.hexists(scheduler.key, "death")
    assert signal.getsignal(number) is before


def test_a_burst_hands_over_what_is_due_and_returns_though_another_one_leads(
    scheduler: FleetScheduler, settings: Settings, redis: Redis
) -> None:
    other = FleetScheduler(connection=redis, settings=settings)
    assert other.acquire_lock()
    due, later = scheduler.enqueue_at(datetime(2020, 1, 1), jobs.add, 1), scheduler.enqueue_in(timedelta(hours=1), jobs.add, 1)
    scheduler.run(burst=True)
    assert (queued(redis), scheduler.get_jobs()) == ([due.id], [later])
    assert other.acquire_lock(), "it still has it"


def test_one_of_that_name_that_is_alive_keeps_another_from_starting(scheduler: FleetScheduler, redis: Redis, settings: Settings) -> None:
    scheduler.register_birth()
    with pytest.raises(ValueError, match="already an active RQ scheduler"):
        FleetScheduler(connection=redis, settings=settings, name=scheduler.name).run(burst=True)


def test_it_runs_in_a_thread_as_well(scheduler: FleetScheduler, redis: Redis) -> None:
    thread = threading.Thread(target=scheduler.run, kwargs={"burst": True})
    job = scheduler.enqueue_at(datetime(2020, 1, 1), jobs.add, 1)
    thread.start()
    thread.join(10)
    assert queued(redis) == [job.id]


# -- workers ---------------------------------------------------------------------------------------------------
def test_a_stock_worker_runs_the_jobs(start: Start, scheduler: FleetScheduler, redis: Redis, quick: Settings) -> None:
    start("one")
    made = [
        scheduler.enqueue_in(timedelta(milliseconds=100), jobs.add, 1, b=2),
        scheduler.enqueue_at(datetime.now(UTC), "support.jobs.add", 3),
        scheduler.schedule(datetime(2020, 1, 1), jobs.Machine(6).times, args=[7]),
        scheduler.cron("@yearly", jobs.add, args=[5], queue_name="default"),
    ]
    scheduler.change_execution_time(made[-1], datetime(2020, 1, 1))
    until(lambda: len(queued(redis)) == 4)
    jobs.work(quick)
    assert [job.return_value() for job in made] == [3, 3, 42, 5]
    assert scheduler.get_jobs() == [made[-1]]


def test_a_periodic_job_runs_again_and_again_under_its_id(start: Start, scheduler: FleetScheduler, redis: Redis) -> None:
    start("one")
    job = scheduler.schedule(datetime.now(UTC), jobs.note, args=["ran"], interval=0.2, repeat=5)
    queue = Queue(connection=redis)
    worker = SimpleWorker([queue], connection=redis)
    until(lambda: worker.work(burst=True) is not None and redis.llen("ran") == 5, 30)
    assert redis.lrange("ran", 0, -1) == [job.id.encode()] * 5
    assert (job in scheduler, Job.fetch(job.id, connection=redis).meta["repeat"]) == (False, 0)


# -- in time ---------------------------------------------------------------------------------------------------
def test_nothing_is_early_and_little_is_late_though_the_interval_is_long(start: Start, scheduler: FleetScheduler, redis: Redis) -> None:
    # Given a scheduler that may sleep for a minute
    start("one", interval=60)
    # When jobs come that are due soon, in any order
    began = now(redis)
    chosen = random.Random(7)
    due = {}
    for _ in range(60):
        moment = began + timedelta(seconds=chosen.uniform(0.2, 1.5))
        due[scheduler.enqueue_at(moment, jobs.add, 1).id] = moment
    until(lambda: len(queued(redis)) == 60)
    # Then each is handed over when it is due
    late = sorted(job.enqueued_at - due[job.id] for job in Job.fetch_many(list(due), connection=redis) if job and job.enqueued_at)
    assert len(late) == 60
    assert late[0] >= timedelta(0)
    assert late[30] < timedelta(seconds=1)


def test_a_job_that_is_put_earlier_wakes_it(start: Start, scheduler: FleetScheduler, redis: Redis) -> None:
    start("one", interval=60)
    job = scheduler.enqueue_in(timedelta(hours=1), jobs.add, 1)
    scheduler.change_execution_time(job, datetime.now(UTC))
    until(lambda: queued(redis) == [job.id], 1)


def test_without_pubsub_it_looks_now_and_then(start: Start, scheduler: FleetScheduler, redis: Redis) -> None:
    start("one", TASKQ_PUBSUB="off", TASKQ_POLL="0.3")
    job = scheduler.enqueue_in(timedelta(0), jobs.add, 1)
    until(lambda: queued(redis) == [job.id], 10)


def test_idle_it_asks_little(start: Start, redis: Redis) -> None:
    start("one")
    before = redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert not redis.blpop(["nothing"], timeout=2)
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] - before < 20, "renewals of a lease of one second"


# -- many, killed ----------------------------------------------------------------------------------------------
def test_one_leads_and_another_takes_over_when_it_is_killed(start: Start, scheduler: FleetScheduler, redis: Redis, keys: Keys) -> None:
    first = start("first")
    until(lambda: leader(redis, keys) == "first")
    second = start("second")
    assert leader(redis, keys) == "first"
    first.kill()
    job = scheduler.enqueue_in(timedelta(0), jobs.add, 1)
    until(lambda: queued(redis) == [job.id], 10)
    assert leader(redis, keys) == "second"
    assert second.end() == 0
    assert not redis.exists(keys.scheduler_jobs_lease)


def test_one_that_ends_hands_the_lead_on_at_once(start: Start, redis: Redis, keys: Keys, settings: Settings) -> None:
    patient = settings.model_copy(update={"lease": 60.0, "scheduler_lease": 60.0})
    first = start("first", settings=patient)
    until(lambda: leader(redis, keys) == "first")
    start("second", settings=patient)
    assert first.end() == 0
    until(lambda: leader(redis, keys) == "second", 10, "long before the lease would have ended, and before it would have asked again")


def test_kills_lose_and_double_nothing(start: Start, scheduler: FleetScheduler, redis: Redis, keys: Keys) -> None:
    # Given jobs that are due all the time, once or twenty times each, and two schedulers
    began = now(redis)
    once = [scheduler.enqueue_at(began + timedelta(milliseconds=20 * number), jobs.add, number) for number in range(200)]
    again = [scheduler.schedule(began, jobs.add, [number], interval=0.1, repeat=20) for number in range(10)]
    running = [start(f"s{number}") for number in range(2)]
    # When the leader is killed, again and again
    for number in range(2, 7):
        name = until(lambda: leader(redis, keys))
        handed_over = redis.llen("rq:queue:default")
        until(lambda before=handed_over: redis.llen("rq:queue:default") > before or scheduler.count() == 0, 20)  # type: ignore[misc]  # a default binds it
        next(process for process in running if process.name == name).kill()
        running.append(start(f"s{number}"))
    until(lambda: scheduler.count() == 0, 60)
    # Then each time of each job was handed over once
    counts = Counter(queued(redis))
    assert {counts[job.id] for job in once} == {1}
    assert {counts[job.id] for job in again} == {20}
    assert redis.hlen(keys.scheduler_repeats) == 0


def test_many_that_move_at_once_without_the_lead_double_nothing(redis: Redis, settings: Settings) -> None:
    one = FleetScheduler(connection=redis, settings=settings)
    made = [one.enqueue_at(datetime(2020, 1, 1), jobs.add, number) for number in range(300)]
    made += [one.schedule(datetime(2020, 1, 1), jobs.add, [number], interval=3600) for number in range(100)]
    others = [FleetScheduler(connection=redis, settings=settings) for _ in range(4)]
    threads = [threading.Thread(target=other.run, kwargs={"burst": True}) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Counter(queued(redis)) == Counter(job.id for job in made)
    assert one.count() == 100


def test_an_outage_is_waited_out(start: Start, own_server: Any, quick: Settings) -> None:
    there = quick.model_copy(update={"redis_url": own_server.url})
    process = start("one", settings=there)
    with Redis.from_url(own_server.url) as client:
        scheduler = FleetScheduler(connection=client, settings=there)
        job = scheduler.enqueue_in(timedelta(seconds=1), jobs.add, 1)
        own_server.kill()
        until(lambda: "Redis is away" in process.text())
        own_server.start()
        until(lambda: queued(client) == [job.id], 20, process.text())
        client.delete(scheduler.keys.scheduler_instances + "one")
        own_server.kill()
        until(lambda: process.text().count("Redis is away") == 2)
        own_server.start()
        until(lambda: client.exists(scheduler.keys.scheduler_instances + "one"), 20, "its birth is recorded anew")
        assert process.end() == 0
    assert "Traceback" not in process.text()


def test_a_signal_ends_it_while_redis_is_away(start: Start, own_server: Any, quick: Settings) -> None:
    process = start("one", settings=quick.model_copy(update={"redis_url": own_server.url}))
    own_server.kill()
    until(lambda: "Redis is away" in process.text())
    assert process.end() == 0


# -- beside a stock scheduler ----------------------------------------------------------------------------------
def test_rqscheduler_beside_it_touches_nothing_of_ours(start: Start, scheduler: FleetScheduler, redis: Redis, settings: Settings) -> None:
    ours = scheduler.schedule(datetime(2020, 1, 1), jobs.add, [1], interval=3600)
    theirs = Scheduler(connection=redis).enqueue_at(datetime(2020, 1, 1), jobs.add, 2)
    before = {key: redis.dump(key) for key in redis.scan_iter("taskq*")}
    command = [str(Path(sys.executable).with_name("rqscheduler")), "--burst", "--url", str(settings.redis_url)]
    subprocess.run(command, env=environment(settings), check=True, timeout=60, capture_output=True)
    assert queued(redis) == [theirs.id]
    assert {key: redis.dump(key) for key in redis.scan_iter("taskq*")} == before
    start("one")
    until(lambda: queued(redis) == [theirs.id, ours.id])
