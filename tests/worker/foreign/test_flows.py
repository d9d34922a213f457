"""What follows from jobs: dependents, callbacks, repeats, groups, rate limits; the same on RQ's own workers and on ours."""

from __future__ import annotations

import pytest
import redis as redis_py
from rq import Callback, Queue, Repeat
from rq.group import Group
from rq.job import Dependency
from rq.rate_limit import RateLimit, RateLimitRegistry
from support import legacy
from support.foreign import ALL, Kind, Workers

pytestmark = [pytest.mark.process, pytest.mark.parametrize("kind", ALL)]


def notes(connection: redis_py.Redis, key: str = "notes") -> list[str]:
    return [text.decode() for text in connection.lrange(key, 0, -1)]


def test_dependents_follow_what_they_depend_on(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    one, two = queue.enqueue(legacy.note, "notes", "one"), queue.enqueue(legacy.note, "notes", "two")
    both = queue.enqueue(legacy.note, "notes", "both", depends_on=[one, two])
    last = queue.enqueue(legacy.note, "notes", "last", depends_on=both)
    first = queue.enqueue(legacy.note, "notes", "other")
    assert both.get_status() == last.get_status() == "deferred"
    workers.burst(kind)
    assert notes(bare) == ["one", "two", "other", "both", "last"]
    assert {job.get_status() for job in (one, two, both, last, first)} == {"finished"}
    assert queue.deferred_job_registry.count == 0


def test_dependents_of_a_failure_wait_unless_they_allow_it(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    wrong = queue.enqueue(legacy.fail)
    strict = queue.enqueue(legacy.note, "notes", "strict", depends_on=wrong)
    lenient = queue.enqueue(legacy.note, "notes", "lenient", depends_on=Dependency(wrong, allow_failure=True))
    workers.burst(kind)
    assert notes(bare) == ["lenient"]
    assert (wrong.get_status(), strict.get_status(), lenient.get_status()) == ("failed", "deferred", "finished")
    assert queue.deferred_job_registry.get_job_ids() == [strict.id]


def test_dependents_may_go_to_another_queue_and_to_its_front(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    other = Queue("other", connection=bare)
    first = queue.enqueue(legacy.note, "notes", "first")
    other.enqueue(legacy.note, "notes", "waits")
    other.enqueue(legacy.note, "notes", "front", depends_on=Dependency(first, enqueue_at_front=True))
    workers.burst(kind, "legacy", "other")
    assert notes(bare) == ["first", "front", "waits"]


def test_callbacks_of_successes_and_failures(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    callbacks = {"on_success": Callback(legacy.on_success), "on_failure": Callback(legacy.on_failure, timeout=10)}
    good, bad = queue.enqueue(legacy.add, 1, **callbacks), queue.enqueue(legacy.fail, **callbacks)
    workers.burst(kind)
    assert notes(bare, "callbacks") == ["success 2", "failure ValueError boom"]
    assert (good.get_status(), bad.get_status()) == ("finished", "failed")


def test_a_callback_that_fails_fails_its_job(kind: Kind, workers: Workers, queue: Queue) -> None:
    good = queue.enqueue(legacy.add, 1, on_success=Callback(legacy.on_any))
    bad = queue.enqueue(legacy.fail, on_failure=Callback(legacy.on_any))
    workers.burst(kind)
    assert (good.get_status(), bad.get_status()) == ("failed", "failed")
    assert "RuntimeError: the callback itself" in good.latest_result().exc_string
    assert "RuntimeError: the callback itself" in bad.latest_result().exc_string


def test_repeats_at_once_and_later(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    often = queue.enqueue(legacy.note, "notes", "often", repeat=Repeat(times=2))
    later = queue.enqueue(legacy.note, "notes", "later", repeat=Repeat(times=2, interval=600))
    workers.burst(kind)
    assert sorted(notes(bare)) == ["later", "often", "often", "often"]
    assert often.get_status() == "finished"
    later.refresh()
    assert (later.get_status(), later.repeats_left) == ("scheduled", 1)
    assert queue.scheduled_job_registry.get_job_ids() == [later.id]


def test_groups_know_their_jobs(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    group = Group.create(bare, "team")
    group.enqueue_many(queue, [Queue.prepare_data(legacy.add, (number,)) for number in range(3)])
    workers.burst(kind)
    jobs = Group.fetch("team", bare).get_jobs()
    assert sorted(job.return_value() for job in jobs) == [1, 2, 3]
    assert {(job.group_id, job.get_status()) for job in jobs} == {("team", "finished")}


def test_rate_limited_jobs_run_one_after_the_other(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    limit = RateLimit("narrow", concurrency=1)
    jobs = [queue.enqueue(legacy.note, "notes", str(number), rate_limit=limit) for number in range(3)]
    jobs.append(queue.enqueue(legacy.fail, rate_limit=limit))
    jobs.append(queue.enqueue(legacy.note, "notes", "last", rate_limit=limit))
    assert (queue.count, jobs[1].get_status()) == (1, "rate_limited")
    workers.burst(kind)
    assert (notes(bare)[0], sorted(notes(bare))) == ("0", ["0", "1", "2", "last"])  # RQ orders those of one second by their ids
    assert [job.get_status() for job in jobs] == ["finished", "finished", "finished", "failed", "finished"]
    registry = RateLimitRegistry("narrow", bare)
    assert (registry.get_allowed_job_count(), registry.get_rate_limited_job_count()) == (0, 0)
