"""Redis goes away under a worker, and comes back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from redis.exceptions import ConnectionError as ConnectionLost
from rq import Queue
from rq.job import Job
from support import legacy
from support.foreign import Workers
from support.waiting import until

from taskq.registry.settings import Settings
from taskq.worker.foreign import RQWorker

pytestmark = pytest.mark.process
FREQUENT = {"job_monitoring_interval": 1}


@pytest.fixture
def far(own_server: Any) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(own_server.url) as client:
        yield client


@pytest.fixture
def theirs(settings: Settings, own_server: Any, far: redis_py.Redis, tmp_path: Path) -> Iterator[Workers]:
    """Workers on a server that may be killed."""
    made = Workers(settings.model_copy(update={"redis_url": own_server.url}), far, tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize("queues", [("legacy",), ("legacy", "other")])
def test_an_outage_while_a_job_runs_harms_neither_job_nor_worker(
    queues: tuple[str, ...], theirs: Workers, own_server: Any, far: redis_py.Redis, tmp_path: Path
) -> None:
    queue = Queue("legacy", connection=far)
    job = queue.enqueue(legacy.wait_for_file, str(tmp_path / "begun"), str(tmp_path / "go"))
    worker = theirs.start(RQWorker, *queues, made=FREQUENT)
    until((tmp_path / "begun").exists, what="the job to begin")
    own_server.kill()
    until(lambda: "a heartbeat is left out" in worker.log.read_text(), what="a heartbeat that is not heard")
    own_server.start()
    (tmp_path / "go").touch()
    until(lambda: job.get_status() == "finished", what="the job to end")
    assert job.return_value() == "went on"
    follower = queue.enqueue(legacy.add, 1)
    until(lambda: follower.get_status() == "finished", timeout=20, what="the next job")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_job_that_can_not_tell_its_end_fails_once_redis_is_back(
    theirs: Workers, own_server: Any, far: redis_py.Redis, tmp_path: Path
) -> None:
    queue = Queue("legacy", connection=far)
    job = queue.enqueue(legacy.wait_for_file, str(tmp_path / "begun"), str(tmp_path / "go"))
    worker = theirs.start(RQWorker, made=FREQUENT)
    until((tmp_path / "begun").exists, what="the job to begin")
    own_server.kill()
    (tmp_path / "go").touch()
    until(lambda: "trying again" in worker.log.read_text(), timeout=20, what="the job to end")
    own_server.start()
    until(lambda: job.get_status() == "failed", timeout=20, what="the job to be recorded")
    assert "Work-horse terminated unexpectedly" in job.latest_result().exc_string
    follower = queue.enqueue(legacy.add, 1)
    until(lambda: follower.get_status() == "finished", timeout=20, what="the next job")


def test_an_idle_worker_that_is_stopped_while_redis_is_away_ends(theirs: Workers, own_server: Any) -> None:
    worker = theirs.idle(RQWorker)
    own_server.kill()
    until(lambda: "could not connect" in worker.log.read_text() or "no answer" in worker.log.read_text(), what="the outage to be seen")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 1
    assert "ConnectionError" in worker.log.read_text()


def test_a_start_that_got_no_answer_is_noted_once(workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    def deaf() -> None:
        begin = RQWorker.begin

        def begin_unheard(self: RQWorker, job: Job, queue: Queue) -> object:
            begun = begin(self, job, queue)
            if bare.incr("begun") == 1:
                raise ConnectionLost("no answer")
            return begun

        RQWorker.begin = begin_unheard  # type: ignore[assignment,method-assign]  # in the worker's process alone

    job = queue.enqueue(legacy.add, 1)
    workers.burst(RQWorker, before=deaf)
    assert (job.get_status(), bare.get("begun")) == ("finished", b"2")
    assert bare.keys("rq:execution*") == []
    assert (queue.started_job_registry.count, bare.scard("rq:worker:w1:executions")) == (0, 0)
