"""RQ's own tools read our runs, queues and workers, and change nothing by reading."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from redis import Redis
from rq import Queue, Worker
from rq.job import Job
from support.command import Command
from support.waiting import until

from taskq import Client
from taskq.registry.keys import Keys
from taskq.registry.scripts import load
from taskq.registry.serializer import RunSerializer
from taskq.registry.settings import Settings

SLOW = """
import time
from taskq import task

@task
def add(a: int, b: int) -> dict:
    return {"sum": a + b}

@task
def slow(seconds: float) -> None:
    time.sleep(seconds)
"""


def rq_info(settings: Settings) -> str:
    command = [str(Path(sys.executable).with_name("rq")), "info", "--url", str(settings.redis_url), "--raw"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout


def test_job_fetch_gives_status_parameters_and_value(settings: Settings, taskq: Command, redis: Redis) -> None:
    taskq("register", str(taskq.write("slow.py", SLOW)))
    with taskq.workers(1), Client(settings=settings) as client:
        run = client.enqueue("add", a=1, b=2)
        assert run.wait(20) == {"sum": 3}
        job = Job.fetch(run.id, connection=redis, serializer=RunSerializer)
        assert job.get_status() == "finished"
        assert job.return_value() == {"sum": 3}
        assert job.kwargs == {"a": 1, "b": 2}
        assert run.id in Queue("taskq.default", connection=redis).finished_job_registry


def test_rq_info_counts_and_changes_nothing_beside_live_and_expired_leases(
    settings: Settings, taskq: Command, redis: Redis, keys: Keys
) -> None:
    # Given a run on a worker, one whose lease has expired long ago, and one in the queue
    taskq("register", str(taskq.write("slow.py", SLOW)))
    with Client(settings=settings) as client:
        lost = client.enqueue("slow", seconds=0.0)
        load("claim").call(redis, [keys.leases, keys.lease, keys.fence, keys.revision, keys.rq_queue("default")], ["gone", 1, 1, "rq"])
        until(lambda: redis.zscore(keys.leases, lost.id) is not None)
        waiting = client.enqueue("slow", seconds=0.0)
        # When rq info and RQ's registries read them, again and again
        text = rq_info(settings)
        before = {key: redis.dump(key) for key in redis.scan_iter("*")}
        queue = Queue("taskq.default", connection=redis, serializer=RunSerializer)
        for _ in range(100):
            assert queue.started_job_registry.count == 1
            assert queue.count == 1
            assert queue.failed_job_registry.count == 0
        rq_info(settings)
        # Then nothing has changed
        assert {key: redis.dump(key) for key in redis.scan_iter("*")} == before
        assert "taskq.default" in text
        assert client.run(lost.id).status == "running"
        assert client.run(waiting.id).status == "queued"


def test_rq_lists_our_workers_with_their_queues(settings: Settings, taskq: Command, redis: Redis) -> None:
    with taskq.workers(2):
        workers = Worker.all(connection=redis)
        assert {worker.name for worker in workers} == {"w0", "w1"}
        assert all([queue.name for queue in worker.queues] == ["taskq.default"] for worker in workers)
        assert rq_info(settings).count("worker w") == 2
    assert Worker.all(connection=redis) == []
