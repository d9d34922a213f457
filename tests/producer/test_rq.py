"""What RQ itself makes of a run: it reads the truth, and its own worker never executes it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from redis import Redis
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from support import hands, later

from taskq.producer import Client
from taskq.registry import clock
from taskq.registry.errors import RunFailed
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec
from taskq.registry.serializer import REFUSAL, RunSerializer
from taskq.registry.settings import Settings

NUMBER = Spec(parameters=hands.schema(n={"type": "integer"}))


def test_rq_reads_a_run_through_its_whole_life(redis: Redis, keys: Keys, settings: Settings) -> None:
    hands.put_task(redis, keys, "count", spec=NUMBER)
    with Client(redis, settings=settings) as client:
        run = client.enqueue("count", n=2)
    job = Job.fetch(run.id, connection=redis, serializer=RunSerializer)
    assert (job.get_status(), job.kwargs, job.args) == (JobStatus.QUEUED, {"n": 2}, ())
    assert (job.description, job.origin) == ("count", "taskq.default")
    (claimed,) = hands.claim(redis, keys)
    assert job.get_status() == JobStatus.STARTED
    assert StartedJobRegistry("taskq.default", connection=redis).count == 1
    hands.finish(redis, keys, claimed, {"sum": 4})
    assert (job.get_status(), job.return_value()) == (JobStatus.FINISHED, {"sum": 4})
    assert run.id in FinishedJobRegistry("taskq.default", connection=redis).get_job_ids()


def test_rq_sees_a_later_run_as_scheduled_and_its_tools_may_take_it(redis: Redis, keys: Keys, settings: Settings) -> None:
    hands.put_task(redis, keys, "count", spec=NUMBER)
    with Client(redis, settings=settings) as client:
        runs = client.options(in_="1h").enqueue_many("count", [{"n": n} for n in range(3)])
    jobs = [Job.fetch(run.id, connection=redis, serializer=RunSerializer) for run in runs]
    assert {job.get_status() for job in jobs} == {JobStatus.SCHEDULED}
    registry = ScheduledJobRegistry("taskq.default", connection=redis, serializer=RunSerializer)
    assert registry.get_job_ids() == sorted(run.id for run in runs)
    assert clock.iso(registry.get_scheduled_time(jobs[0]).timestamp()) == runs[0].due_at
    # When RQ cancels one and deletes another
    jobs[0].cancel()
    jobs[1].delete()
    assert runs[0].refresh().status == "cancelled"
    # Then only the third one runs, and nothing of the others is left
    later.come_due(redis, keys, *(run.id for run in runs))
    assert later.move(redis, keys).count == 1
    assert [claimed.params for claimed in hands.claim(redis, keys, 3)] == [{"n": 2}]
    assert (redis.zcard(keys.scheduler_runs), registry.count) == (0, 0)


@pytest.mark.process
def test_rq_info_harms_no_later_run(redis: Redis, keys: Keys, settings: Settings) -> None:
    hands.put_task(redis, keys, "count", spec=NUMBER)
    with Client(redis, settings=settings) as client:
        run = client.options(in_="1h").enqueue("count", n=2)
        before = (redis.hgetall(keys.rq_job(run.id)), redis.zrange(keys.rq_registry("scheduled", "default"), 0, -1, withscores=True))
        command = [sys.executable, "-m", "rq.cli", "info", "--url", str(settings.redis_url)]
        subprocess.run(command, capture_output=True, timeout=60, check=True)
        after = (redis.hgetall(keys.rq_job(run.id)), redis.zrange(keys.rq_registry("scheduled", "default"), 0, -1, withscores=True))
        assert (after, run.refresh().status) == (before, "scheduled")


@pytest.mark.process
@pytest.mark.parametrize("serializer", [[], ["--serializer", "taskq.registry.serializer.RunSerializer"]])
def test_a_stock_worker_fails_the_run_and_says_which_worker_it_wants(
    redis: Redis, keys: Keys, settings: Settings, serializer: list[str]
) -> None:
    # Given a run that waits
    hands.put_task(redis, keys, "count", spec=NUMBER)
    with Client(redis, settings=settings) as client:
        run = client.enqueue("count", n=2)
        # When a stock worker takes it
        command = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", str(settings.redis_url), *serializer, "taskq.default"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
        # Then it has failed with the sentence, and that is what we read
        assert REFUSAL in done.stderr + done.stdout
        run.refresh()
        assert (run.status, run.reason, run.result) == ("failed", "error", None)
        assert REFUSAL in (run.error or "")
        (attempt,) = run.attempts
        assert (attempt["attempt"], attempt["outcome"]) == (1, "error")
        assert REFUSAL in (attempt["error"] or "")
        with pytest.raises(RunFailed, match="taskq worker"):
            run.wait(5)
        # And when RQ requeues it, a worker of ours can claim it after all
        registry = FailedJobRegistry("taskq.default", connection=redis, serializer=RunSerializer)
        registry.requeue(run.id)
        assert run.refresh().status == "queued"
        assert [claimed.params for claimed in hands.claim(redis, keys)] == [{"n": 2}]
