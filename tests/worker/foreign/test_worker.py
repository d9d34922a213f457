"""What a worker shows of itself and which options it takes; the same on RQ's own workers and on ours."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from rq import Queue, Repeat, Retry
from rq.worker import BaseWorker, DequeueStrategy, Worker
from support import legacy
from support.foreign import ALL, FORKING, Kind, Workers
from support.waiting import until

from taskq.registry.settings import Settings
from taskq.worker.foreign import RQWorker

pytestmark = pytest.mark.process
each = pytest.mark.parametrize("kind", ALL)
forking = pytest.mark.parametrize("kind", FORKING)
RQ = Path(sys.executable).parent / "rq"


@each
def test_counters_and_working_time(kind: Kind, workers: Workers, queue: Queue) -> None:
    for _ in range(3):
        queue.enqueue(legacy.add, 1)
    for _ in range(2):
        queue.enqueue(legacy.fail)
    queue.enqueue(legacy.hold, "held", 0.2)
    worker = workers.burst(kind, made={"name": "counting"})
    assert (worker.field("successful_job_count"), worker.field("failed_job_count")) == ("4", "2")
    assert 0.2 <= float(worker.field("total_working_time")) < 10
    assert worker.field("queues") == "legacy"
    assert int(worker.field("pid")) == worker.pid
    assert worker.field("death")


@each
def test_a_busy_worker_tells_what_it_does(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    first, job = queue.enqueue(legacy.add, 1), queue.enqueue(legacy.hold_back, "held", "go")
    started = workers.start(kind, made={"name": "busy"})
    until(lambda: bare.get("held"), what="the job to begin")
    (worker,) = kind.all(connection=bare)
    assert (worker.name, worker.get_state(), worker.get_current_job_id(), worker.pid) == ("busy", "busy", job.id, started.pid)
    current = worker.get_current_job()
    assert current is not None
    assert current.worker_name == "busy"
    assert worker.current_execution_count == 1
    assert (job.get_status(), queue.started_job_registry.get_job_ids(), queue.finished_job_registry.get_job_ids()) == (
        "started",
        [job.id],
        [first.id],
    )
    bare.set("go", 1)
    until(lambda: started.state() == "idle", what="the worker to be idle")
    assert bare.scard(worker.executions_key) == 0
    until(lambda: bare.ttl(worker.key) > 400, what="its key to outlive the wait for a job")


@each
def test_rq_info_shows_it(kind: Kind, workers: Workers, queue: Queue, settings: Settings, bare: redis_py.Redis) -> None:
    queue.enqueue(legacy.hold_back, "held", "go")
    queue.enqueue(legacy.add, 1)
    started = workers.start(kind, "legacy", "other", made={"name": "shown"})
    until(lambda: bare.get("held"), what="the job to begin")
    told = subprocess.run([RQ, "info", "-u", str(settings.redis_url), "--raw"], capture_output=True, text=True, check=True).stdout
    assert "queue legacy 1, 1 executing, 0 finished, 0 failed" in told
    (line,) = (line for line in told.splitlines() if line.startswith("worker shown"))
    assert f"{started.pid}" in line
    assert "busy" in line
    assert "legacy,other" in line.replace(", ", ",")


@each
def test_a_job_knows_itself_and_its_worker(kind: Kind, workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.surroundings) if kind in {Worker, RQWorker} else queue.enqueue(legacy.keep_meta, 1)
    worker = workers.burst(kind)
    if kind in {Worker, RQWorker}:
        assert job.return_value() == {"worker": worker.name, "job": job.id, "current": job.id, "attempt_of": worker.name}
    else:
        assert job.get_meta() == {"progress": 1}


@each
def test_max_jobs(kind: Kind, workers: Workers, queue: Queue) -> None:
    for _ in range(4):
        queue.enqueue(legacy.add, 1)
    worker = workers.start(kind, max_jobs=3)
    assert worker.wait() == 0
    assert (queue.count, queue.finished_job_registry.count, worker.state()) == (1, 3, "idle")


@each
def test_max_idle_time(kind: Kind, workers: Workers, queue: Queue) -> None:
    queue.enqueue(legacy.add, 1)
    assert workers.start(kind, max_idle_time=1).wait() == 0
    assert queue.finished_job_registry.count == 1


@each
@pytest.mark.parametrize(
    ("strategy", "order"),
    [(DequeueStrategy.DEFAULT, ["a1", "a2", "b1", "b2"]), (DequeueStrategy.ROUND_ROBIN, ["a1", "b1", "a2", "b2"])],
)
def test_dequeue_strategies(strategy: DequeueStrategy, order: list[str], kind: Kind, workers: Workers, bare: redis_py.Redis) -> None:
    for name in ("a", "b"):
        for number in (1, 2):
            Queue(name, connection=bare).enqueue(legacy.note, "notes", f"{name}{number}")
    workers.burst(kind, "a", "b", dequeue_strategy=strategy)
    assert [note.decode() for note in bare.lrange("notes", 0, -1)] == order


@each
def test_the_random_strategy_serves_all_queues(kind: Kind, workers: Workers, bare: redis_py.Redis) -> None:
    names = [f"q{number}" for number in range(5)]
    for name in names:
        Queue(name, connection=bare).enqueue(legacy.note, "notes", name)
    workers.burst(kind, *names, dequeue_strategy=DequeueStrategy.RANDOM)
    assert sorted(note.decode() for note in bare.lrange("notes", 0, -1)) == names


@each
def test_with_a_scheduler_jobs_that_are_due_are_run(kind: Kind, workers: Workers, queue: Queue) -> None:
    due = queue.enqueue_at(datetime.now(UTC) - timedelta(seconds=5), legacy.add, 1)
    later = queue.enqueue_in(timedelta(hours=1), legacy.add, 1)
    workers.burst(kind, with_scheduler=True)
    assert (due.get_status(), later.get_status()) == ("finished", "scheduled")


@forking
def test_the_scheduler_of_a_worker_runs_retries_and_repeats_that_become_due(kind: Kind, workers: Workers, queue: Queue) -> None:
    again = queue.enqueue(legacy.fail_until, "again", 1, retry=Retry(max=2, interval=1))
    often = queue.enqueue(legacy.note, "notes", "often", repeat=Repeat(times=1, interval=1))
    workers.start(kind, with_scheduler=True)
    until(lambda: again.get_status() == "finished" and queue.connection.llen("notes") == 2, what="both to run again")
    until(lambda: often.get_status() == "finished", what="the last repeat")


@each
def test_a_name_that_is_taken_is_refused(kind: Kind, workers: Workers) -> None:
    workers.idle(kind, made={"name": "same"})
    second = workers.start(kind, made={"name": "same"})
    assert second.wait() == 1
    assert "There exists an active worker named 'same' already" in second.log.read_text()


def dump(bare: redis_py.Redis) -> dict[str, Any]:
    """All keys that are left, with what names a moment or a process taken out."""
    shown: dict[str, Any] = {}
    for key in sorted(bare.keys("*")):
        kind = bare.type(key).decode()
        name = key.decode()
        if kind == "hash":
            shown[name] = sorted(field.decode() for field in bare.hkeys(key))
            shown[f"{name} status"] = bare.hget(key, "status") or bare.hget(key, "state")
        elif kind == "zset":
            shown[name] = sorted(bare.zrange(key, 0, -1))
        elif kind == "stream":
            shown[name] = [sorted(fields) for _, fields in bare.xrange(key)]
        elif kind == "set":
            shown[name] = bare.smembers(key)
        elif kind == "list":
            shown[name] = bare.lrange(key, 0, -1)
        else:
            shown[name] = kind
        ttl = bare.ttl(key)
        shown[f"{name} expires"] = "never" if ttl == -1 else math.ceil(ttl / 100)  # they are hundreds, but for the moments since then
    return shown


def scenario(queue: Queue) -> None:
    """Jobs with fixed ids, of each kind of end."""
    queue.enqueue(legacy.add, 1, job_id="good")
    queue.enqueue(legacy.add, 1, job_id="kept", result_ttl=-1, meta={"a": 1})
    queue.enqueue(legacy.add, 1, job_id="gone", result_ttl=0)
    queue.enqueue(legacy.fail, job_id="bad")
    queue.enqueue(legacy.fail, job_id="retried", retry=Retry(max=1))
    queue.enqueue(legacy.fail, job_id="later", retry=Retry(max=1, interval=5000))
    queue.enqueue(legacy.ask_for_retry, "asked", 1, job_id="asked")
    queue.enqueue(legacy.add, 1, job_id="repeated", repeat=Repeat(times=1))
    queue.enqueue(legacy.add, 1, job_id="repeated_later", repeat=Repeat(times=1, interval=5000))
    queue.enqueue(legacy.add, 1, job_id="dependent", depends_on=["good", "kept"])
    queue.enqueue(legacy.add, 1, job_id="waiting", depends_on="bad")
    queue.enqueue(legacy.keep_meta, 1, job_id="meta")
    queue.enqueue(legacy.kill_itself, job_id="killed")


@pytest.mark.parametrize("queues", [("legacy",), ("legacy", "other")])
def test_the_keys_hold_what_they_hold_after_a_worker_of_rq(
    queues: tuple[str, ...], workers: Workers, queue: Queue, bare: redis_py.Redis
) -> None:
    shown: list[dict[str, Any]] = []
    for kind in (Worker, RQWorker):
        bare.flushall()
        scenario(queue)
        workers.burst(kind, *queues, made={"name": "one"})
        shown.append(dump(bare))
    assert shown[1] == shown[0]


def test_it_is_a_worker_of_rq() -> None:
    assert issubclass(RQWorker, BaseWorker)
    assert not issubclass(RQWorker, Worker)
