"""How jobs end: the same on RQ's own workers and on ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis as redis_py
from rq import Queue, Retry
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.results import Result
from rq.serializers import JSONSerializer
from support import legacy
from support.foreign import ALL, Kind, Workers

pytestmark = [pytest.mark.process, pytest.mark.parametrize("kind", ALL)]


def test_a_result_is_stored_with_who_made_it(kind: Kind, workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.add, 2, b=40)
    worker = workers.burst(kind)
    job.refresh()
    assert (job.get_status(), job.worker_name, job.ended_at is not None) == ("finished", worker.name, True)
    latest = job.latest_result()
    assert latest is not None
    assert (latest.type, latest.return_value, latest.worker_name) == (Result.Type.SUCCESSFUL, 42, worker.name)
    assert latest.execution_id is not None
    assert latest.execution_started_at is not None
    assert latest.execution_started_at <= job.started_at <= latest.execution_ended_at
    assert queue.finished_job_registry.get_job_ids() == [job.id]
    assert (queue.started_job_registry.count, queue.count, queue.connection.exists(queue.intermediate_queue_key)) == (0, 0, 0)


def test_a_coroutine_is_awaited(kind: Kind, workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.add_later, 2, 3)
    workers.burst(kind)
    assert job.return_value() == 5


def test_results_are_kept_as_long_as_was_asked(kind: Kind, workers: Workers, queue: Queue) -> None:
    usual, long, gone, forever = (queue.enqueue(legacy.add, 1, result_ttl=ttl) for ttl in (None, 7200, 0, -1))
    workers.burst(kind)
    ttl = queue.connection.ttl
    assert 400 < ttl(usual.key) <= 500
    assert 7000 < ttl(long.key) <= 7200
    assert 7000 < ttl(Result.get_key(long.id)) <= 7200
    assert ttl(forever.key) == -1
    with pytest.raises(NoSuchJobError):
        gone.refresh()
    assert queue.connection.keys(f"rq:*{gone.id}*") == []


def test_a_failure_is_kept_with_its_traceback(kind: Kind, workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.fail, "no luck", failure_ttl=3600)
    worker = workers.burst(kind)
    assert job.get_status() == "failed"
    assert queue.failed_job_registry.get_job_ids() == [job.id]
    latest = job.latest_result()
    assert latest is not None
    assert (latest.type, latest.worker_name) == (Result.Type.FAILED, worker.name)
    assert latest.exc_string.rstrip().endswith("ValueError: no luck")
    assert 'legacy.py", line' in latest.exc_string
    assert 3500 < queue.connection.ttl(Result.get_key(job.id)) <= 3600


@pytest.mark.parametrize(
    ("function", "error"), [("support.nowhere.f", "ModuleNotFoundError|ValueError"), ("support.legacy.gone", "AttributeError|ValueError")]
)
def test_a_function_that_is_not_there_fails_the_job(function: str, error: str, kind: Kind, workers: Workers, queue: Queue) -> None:
    job, next_one = queue.enqueue(function), queue.enqueue(legacy.add, 1)
    workers.burst(kind)
    assert job.get_status() == "failed"
    assert function.rsplit(".", 1)[-1] in job.latest_result().exc_string
    assert next_one.return_value() == 2


def test_data_that_can_not_be_read_fails_the_job(kind: Kind, workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.add, 1)
    queue.connection.hset(job.key, "data", b"this is no pickle")
    workers.burst(kind)
    assert job.get_status() == "failed"
    assert "DeserializationError" in job.latest_result().exc_string


def test_a_result_that_can_not_be_stored_is_said_to_be_that(kind: Kind, workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.opaque)
    workers.burst(kind)
    assert job.get_status() == "finished"
    assert "Unserializable" in job.return_value()


def test_jobs_in_json(kind: Kind, workers: Workers, bare: redis_py.Redis) -> None:
    queue = Queue("legacy", connection=bare, serializer=JSONSerializer)
    job, wrong = queue.enqueue(legacy.add, 2, 3), queue.enqueue(legacy.fail)
    workers.burst(kind, made={"serializer": "json"})
    assert job.return_value() == 5
    assert wrong.latest_result().exc_string.rstrip().endswith("ValueError: boom")
    assert queue.finished_job_registry.get_job_ids() == [job.id]


def test_retries_at_once(kind: Kind, workers: Workers, queue: Queue) -> None:
    lucky = queue.enqueue(legacy.fail_until, "lucky", 2, retry=Retry(max=3))
    unlucky = queue.enqueue(legacy.fail_until, "unlucky", 9, retry=Retry(max=2))
    workers.burst(kind)
    assert (lucky.return_value(), lucky.get_status(), unlucky.get_status()) == (3, "finished", "failed")
    assert int(queue.connection.get("unlucky")) == 3
    assert queue.failed_job_registry.get_job_ids() == [unlucky.id]


def test_retries_with_intervals_are_scheduled(kind: Kind, workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.fail, retry=Retry(max=2, interval=[600, 1200]))
    workers.burst(kind)
    job.refresh()
    assert (job.get_status(), job.retries_left) == ("scheduled", 1)
    due = queue.scheduled_job_registry.get_scheduled_time(job)
    assert timedelta(seconds=500) < due - datetime.now(UTC) <= timedelta(seconds=600)
    assert queue.started_job_registry.count == queue.failed_job_registry.count == 0


def test_a_job_may_return_a_retry(kind: Kind, workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.ask_for_retry, "asked", 2)
    workers.burst(kind)
    assert (job.get_status(), job.return_value()) == ("finished", 3)
    job.refresh()
    assert job.number_of_retries == 2
    assert [result.type for result in job.results()] == [Result.Type.SUCCESSFUL, Result.Type.RETRIED, Result.Type.RETRIED]


def test_exception_handlers_are_called_in_order_until_one_says_no(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    queue.enqueue(legacy.fail, "a")
    queue.enqueue(legacy.fail, "b", meta={"go_on": False})
    workers.burst(kind, made={"exception_handlers": [legacy.handle_first, legacy.handle_second]})
    assert bare.lrange("handlers", 0, -1) == [b"first ValueError a", b"second", b"first ValueError b"]


def test_the_default_exception_handler_can_be_turned_off(kind: Kind, workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.fail)
    workers.burst(kind, made={"disable_default_exception_handler": True})
    assert (job.get_status(), queue.failed_job_registry.count) == ("failed", 0)


def test_a_job_that_takes_too_long_is_interrupted(kind: Kind, workers: Workers, queue: Queue) -> None:
    job, next_one = queue.enqueue(legacy.hold, "held", job_timeout=1), queue.enqueue(legacy.add, 1)
    workers.burst(kind)
    assert job.get_status() == "failed"
    assert "JobTimeoutException: Task exceeded maximum timeout value (1 seconds)" in job.latest_result().exc_string
    assert next_one.return_value() == 2


def test_a_job_whose_time_to_live_is_over_is_passed_over(kind: Kind, workers: Workers, queue: Queue) -> None:
    first, over, last = queue.enqueue(legacy.add, 1), queue.enqueue(legacy.add, 2), queue.enqueue(legacy.add, 3)
    queue.connection.delete(over.key)
    workers.burst(kind)
    assert [first.return_value(), last.return_value()] == [2, 4]
    assert not Job.exists(over.id, connection=queue.connection)


def test_what_a_job_notes_of_itself_is_kept(kind: Kind, workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.keep_meta, 75, meta={"who": "me"})
    workers.burst(kind)
    assert job.get_meta() == {"who": "me", "progress": 75}
