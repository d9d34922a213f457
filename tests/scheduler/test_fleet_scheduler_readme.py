"""The code in rq-scheduler's README, as it stands there, with `FleetScheduler` in the place of its ``Scheduler``."""
# ruff: noqa: DTZ001  # times without a zone are what the README gives

from __future__ import annotations

import re
import textwrap
from datetime import UTC, datetime, timedelta
from importlib.metadata import metadata
from types import SimpleNamespace
from typing import Any

import pytest
import redis as redis_py
import rq_scheduler
from redis import Redis
from rq import Queue
from rq.job import Job
from support import jobs

from taskq.producer.scheduler import FleetScheduler
from taskq.registry.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # the README calls it


def blocks() -> list[str]:
    """The README's blocks of Python, in its order."""
    text = str(metadata("rq-scheduler").get_payload() or metadata("rq-scheduler")["Description"])
    found = re.findall(r"\.\. code-block:: python\n\n((?:(?:    .*)?\n)+)", text)
    return [textwrap.dedent(block).strip() for block in found]


def block(start: str) -> str:
    """The block that begins with this."""
    (found,) = (text for text in blocks() if text.startswith(start))
    return found


@pytest.fixture
def names(settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the README takes for granted: a server at `Redis()`, functions, arguments."""
    monkeypatch.setenv("TASKQ_REDIS_URL", str(settings.redis_url))
    path = str(settings.redis_url).removeprefix("unix://")

    class Here(Redis):
        def __init__(self, **options: Any) -> None:
            super().__init__(**{"unix_socket_path": path, **options})

    monkeypatch.setattr(redis_py, "Redis", Here)
    monkeypatch.setattr(rq_scheduler, "Scheduler", FleetScheduler)
    return {
        "func": jobs.add, "foo": 1, "baz": 2, "arg1": 1, "arg2": 2, "count_retweets": jobs.add, "tweet_id": 3,
        "cron_string": "0 0 * * 0", "queue_name": "chosen", "datetime": datetime, "timedelta": timedelta,
        "scheduler": FleetScheduler("foo", connection=redis, settings=settings),
    }  # fmt: skip


def test_the_readme_has_the_code_that_is_run_here() -> None:
    assert [text.splitlines()[0].strip() for text in blocks()] == [
        "from redis import Redis",
        "from datetime import timedelta",
        "scheduler.schedule(",
        "scheduler.cron(",
        "list_of_job_instances = scheduler.get_jobs()",
        "# get all jobs until 2012-11-30 10:00:00",
        "if job_instance in scheduler:",
        "scheduler.cancel(job)",
    ]


def test_scheduling_a_job(names: dict[str, Any], redis: Redis, settings: Settings) -> None:
    exec(block("from redis import Redis"), names)
    scheduler = names["scheduler"]
    assert isinstance(scheduler, FleetScheduler)
    found = scheduler.get_jobs(with_times=True)
    assert sorted((when, job.origin, job.args, job.kwargs) for job, when in found) == [
        (datetime(2020, 1, 1), "bar", (), {}),
        (datetime(2020, 1, 1), "foo", (), {}),
        (datetime(2020, 1, 1, 3, 4), "bar", (1,), {"bar": 2}),
    ]
    scheduler.run(burst=True)
    assert (Queue("bar", connection=redis).count, Queue("foo", connection=redis).count) == (2, 1)


def test_scheduling_a_job_after_a_time(names: dict[str, Any]) -> None:
    exec(block("from datetime import timedelta"), names)
    now = datetime.now(UTC).replace(tzinfo=None)
    waits = [when - now for _, when in names["scheduler"].get_jobs(with_times=True)]
    for wait, meant in zip(waits, [timedelta(minutes=10), timedelta(hours=1), timedelta(days=1)], strict=True):
        assert abs(wait - meant) < timedelta(seconds=30)


def test_periodic_and_repeated_jobs(names: dict[str, Any], settings: Settings, redis: Redis) -> None:
    exec(block("scheduler.schedule("), names)
    scheduler = names["scheduler"]
    (job,) = scheduler.get_jobs()
    assert (list(job.args), job.kwargs, job.meta) == ([1, 2], {"foo": "bar"}, {"foo": "bar", "interval": 60, "repeat": 10})
    for left in range(9, -1, -1):
        scheduler.change_execution_time(job, datetime(2020, 1, 1))
        scheduler.run(burst=True)
        assert Job.fetch(job.id, connection=redis).meta["repeat"] == left
    assert (scheduler.count(), Queue("foo", connection=redis).job_ids) == (0, [job.id] * 10)


def test_cron_jobs(names: dict[str, Any], redis: Redis) -> None:
    exec(block("scheduler.cron("), names)
    ((job, when),) = names["scheduler"].get_jobs(with_times=True)
    assert (when.weekday(), when.hour, when.minute) == (6, 0, 0)
    assert (job.origin, job.result_ttl, job.ttl, job.meta["repeat"]) == ("chosen", 300, 200, 10)


def test_retrieving_scheduled_jobs(names: dict[str, Any]) -> None:
    scheduler = names["scheduler"]
    job = scheduler.enqueue_at(datetime(2012, 10, 1), jobs.add, 1)
    for start in ("list_of_job_instances = scheduler.get_jobs()", "# get all jobs until"):
        exec(block(start), names)
        assert names["list_of_job_instances"] == [job]
    assert names["jobs_and_times"] == [(job, datetime(2012, 10, 1))]


def test_checking_if_a_job_is_scheduled(names: dict[str, Any]) -> None:
    scheduler = names["scheduler"]
    job = scheduler.enqueue_in(timedelta(hours=1), jobs.add, 1)
    code = block("if job_instance").replace("# Do something", "seen.append(1)")
    for wanted, seen in [(job, [1, 1]), (SimpleNamespace(id="other"), [])]:
        names |= {"job_instance": wanted, "job_id": wanted.id, "seen": []}
        exec(code.replace("# or\n", ""), names)
        assert names["seen"] == seen


def test_cancelling_a_job(names: dict[str, Any]) -> None:
    scheduler = names["scheduler"]
    names["job"] = scheduler.enqueue_in(timedelta(hours=1), jobs.add, 1)
    for _ in range(2):
        exec(block("scheduler.cancel(job)"), names)
        assert scheduler.count() == 0
