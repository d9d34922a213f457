"""What RQ itself makes of a run: it reads the truth, and its own worker never executes it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from redis import Redis
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from support import hands

from taskq.producer import Client
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
