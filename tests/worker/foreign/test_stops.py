"""How jobs and workers are stopped: RQ's commands, signals and limits; the same on RQ's forking worker and on ours."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
import redis as redis_py
from rq import Callback, Queue
from rq.command import send_command, send_kill_horse_command, send_shutdown_command, send_stop_execution_command, send_stop_job_command
from rq.results import Result
from rq.suspension import resume, suspend
from support import legacy
from support.foreign import ALL, FORKING, Kind, Started, Workers
from support.waiting import until

from taskq.worker.foreign import RQWorker

pytestmark = pytest.mark.process
forking = pytest.mark.parametrize("kind", FORKING)
each = pytest.mark.parametrize("kind", ALL)


def running(bare: redis_py.Redis, key: str = "held") -> int:
    """The process of the job that has told it."""
    return int(until(lambda: bare.get(key), what="the job to begin") or b"")


@forking
def test_stop_job_stops_it_and_calls_its_callback(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    job, next_one = queue.enqueue(legacy.hold, "held", on_stopped=Callback(legacy.on_stopped)), queue.enqueue(legacy.add, 1)
    worker = workers.start(kind)
    running(bare)
    send_stop_job_command(bare, job.id)
    until(lambda: next_one.get_status() == "finished", what="the next job")
    assert (job.get_status(), queue.failed_job_registry.get_job_ids()) == ("stopped", [job.id])
    assert job.latest_result().exc_string == "Job stopped by user, work-horse terminated."
    assert [note.split()[0] for note in bare.lrange("callbacks", 0, -1)] == [b"stopped"]
    assert queue.started_job_registry.count == 0
    assert worker.field("failed_job_count") == "1"


@forking
def test_stop_job_without_a_callback(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    job = queue.enqueue(legacy.hold, "held")
    workers.start(kind)
    running(bare)
    send_stop_job_command(bare, job.id)
    until(lambda: job.get_status() == "stopped", what="the job to be stopped")


@forking
def test_a_stopped_callback_that_fails_does_not_keep_the_job_from_being_stopped(
    kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis
) -> None:
    job, next_one = queue.enqueue(legacy.hold, "held", on_stopped=Callback(legacy.on_any)), queue.enqueue(legacy.add, 1)
    workers.start(kind)
    running(bare)
    send_stop_job_command(bare, job.id)
    until(lambda: next_one.get_status() == "finished", what="the next job")
    assert job.get_status() == "stopped"


def test_a_stopped_callback_that_kills_its_process_does_not_keep_the_job_from_being_stopped(
    workers: Workers, queue: Queue, bare: redis_py.Redis
) -> None:
    job, next_one = queue.enqueue(legacy.hold, "held", on_stopped=Callback(legacy.on_stopped_die)), queue.enqueue(legacy.add, 1)
    workers.start(RQWorker)
    running(bare)
    send_stop_job_command(bare, job.id)
    until(lambda: next_one.get_status() == "finished", what="the next job")
    assert (job.get_status(), queue.failed_job_registry.get_job_ids()) == ("stopped", [job.id])


@forking
def test_stop_execution_stops_that_one(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    job = queue.enqueue(legacy.hold, "held")
    workers.start(kind)
    running(bare)
    (execution,) = job.get_executions()
    send_stop_execution_command(bare, job.id, execution.id)
    until(lambda: job.get_status() == "stopped", what="the job to be stopped")


@forking
def test_a_stop_of_another_job_is_ignored(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    job = queue.enqueue(legacy.hold_back, "held", "go")
    worker = workers.start(kind)
    running(bare)
    send_command(bare, worker.name, "stop-job", job_id="another")
    until(lambda: "Not working on job another" in worker.log.read_text(), what="the command to be ignored")
    bare.set("go", 1)
    until(lambda: job.get_status() == "finished", what="the job to end")


def test_a_stopped_job_takes_all_that_it_started_with_it(workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    job = queue.enqueue(legacy.hold_with_children, "family")
    workers.start(RQWorker)
    until(lambda: bare.llen("family") == 3, what="the job to begin")
    family = [psutil.Process(int(pid)) for pid in bare.lrange("family", 0, -1)]
    send_stop_job_command(bare, job.id)
    until(lambda: job.get_status() == "stopped", what="the job to be stopped")
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


@forking
def test_kill_horse_fails_the_job(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    job, next_one = queue.enqueue(legacy.hold, "held"), queue.enqueue(legacy.add, 1)
    worker = workers.start(kind)
    running(bare)
    send_kill_horse_command(bare, worker.name)
    until(lambda: next_one.get_status() == "finished", what="the next job")
    assert (job.get_status(), job.latest_result().type) == ("failed", Result.Type.FAILED)
    assert job.latest_result().exc_string == "Work-horse terminated unexpectedly; waitpid returned 9 (signal 9); "


@forking
@pytest.mark.parametrize(("function", "argument", "told"), [(legacy.kill_itself, 15, "15 (signal 15)"), (legacy.leave, 3, "768")])
def test_a_job_that_ends_its_process_fails(
    function: object, argument: int, told: str, kind: Kind, workers: Workers, queue: Queue, tmp_path: Path
) -> None:
    def handle(job: object, pid: int, status: int, usage: object) -> None:
        (tmp_path / "handled").write_text(f"{job.id} {pid > 0} {status} {usage.ru_maxrss > 0}")  # type: ignore[attr-defined]  # RQ's own

    job, next_one = queue.enqueue(function, argument), queue.enqueue(legacy.add, 1)
    workers.burst(kind, made={"work_horse_killed_handler": handle})
    assert job.latest_result().exc_string == f"Work-horse terminated unexpectedly; waitpid returned {told}; "
    assert (tmp_path / "handled").read_text() == f"{job.id} True {told.split(maxsplit=1)[0]} True"
    assert (job.get_status(), next_one.get_status(), queue.started_job_registry.count) == ("failed", "finished", 0)


def test_a_job_that_ends_its_process_as_if_all_were_well_fails_as_well(workers: Workers, queue: Queue) -> None:
    job = queue.enqueue(legacy.leave, 0)
    workers.burst(RQWorker)
    assert (job.get_status(), job.latest_result().exc_string) == ("failed", "Work-horse terminated unexpectedly; waitpid returned 0; ")


@forking
def test_a_job_that_outstays_its_timeout_is_killed_at_last(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    job = queue.enqueue(legacy.hold_stubbornly, "held", job_timeout=-59)  # so that the minute is over soon
    worker = workers.start(kind, made={"job_monitoring_interval": 1})
    pid = running(bare)
    until(lambda: job.get_status() == "failed", what="the job to be killed")
    assert "Work-horse terminated unexpectedly; waitpid returned" in job.latest_result().exc_string
    assert not psutil.pid_exists(pid)
    until(lambda: worker.state() == "idle", what="the worker to go on")


@each
def test_shutdown_of_an_idle_worker(kind: Kind, workers: Workers, bare: redis_py.Redis) -> None:
    worker = workers.idle(kind)
    send_shutdown_command(bare, worker.name)
    assert worker.wait() == 0
    assert worker.field("death")
    assert bare.smembers("rq:workers") == set()


def begun(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> Started:
    """A worker with a job that waits for a word, and another one in its queue."""
    queue.enqueue(legacy.hold_back, "held", "go", job_id="held")
    queue.enqueue(legacy.add, 1, job_id="next")
    worker = workers.start(kind)
    running(bare)
    return worker


@each
@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT, "shutdown"])
def test_a_warm_shutdown_lets_the_job_end(way: int | str, kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    worker = begun(kind, workers, queue, bare)
    if isinstance(way, str):
        send_shutdown_command(bare, worker.name)
    else:
        worker.signal(way)
    until(lambda: worker.field("shutdown_requested_date"), what="the request to be noted")
    bare.set("go", 1)
    assert worker.wait() == 0
    job = queue.fetch_job("held")
    assert job is not None
    assert (job.get_status(), job.return_value()) == ("finished", "went on")
    assert queue.get_job_ids() == ["next"]


@forking
def test_a_second_signal_ends_the_job(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    worker = begun(kind, workers, queue, bare)
    pid = running(bare)
    worker.signal(signal.SIGTERM)
    until(lambda: worker.field("shutdown_requested_date"), what="the request to be noted")

    def again() -> bool:
        worker.signal(signal.SIGTERM)  # RQ takes no notice of one that comes within a second of the first
        return "cold shut down" in worker.log.read_text()

    until(again, what="the cold shutdown")
    assert worker.wait() == 7
    until(lambda: not psutil.pid_exists(pid), what="the job to be gone")
    assert bare.smembers("rq:workers") == set()


@each
def test_a_suspended_worker_takes_nothing_until_it_is_resumed(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    worker = begun(kind, workers, queue, bare)
    suspend(bare)
    bare.set("go", 1)
    until(lambda: worker.state() == "suspended", what="the worker to be suspended")
    assert queue.get_job_ids() == ["next"]
    resume(bare)
    until(lambda: queue.count == 0, what="the next job to be taken")


@each
def test_a_suspended_burst_ends(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    worker = workers.start(kind, burst=True)
    assert worker.wait() == 0
    queue.enqueue(legacy.add, 1)
    suspend(bare)
    workers.burst(kind)
    assert queue.count == 1


@each
def test_a_burst_that_is_suspended_between_two_jobs_ends(kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    queue.enqueue(legacy.hold_back, "held", "go")
    queue.enqueue(legacy.add, 1)
    worker = workers.start(kind, burst=True)
    running(bare)
    suspend(bare)
    bare.set("go", 1)
    assert worker.wait() == 0
    assert queue.count == 1


@forking
def test_a_job_goes_on_when_its_worker_is_killed_and_leaves_nothing_behind(
    kind: Kind, workers: Workers, queue: Queue, bare: redis_py.Redis
) -> None:
    worker = begun(kind, workers, queue, bare)
    pid = running(bare)
    worker.signal(signal.SIGKILL)
    worker.wait()
    bare.set("go", 1)
    job = queue.fetch_job("held")
    assert job is not None
    until(lambda: job.get_status() == "finished", what="the job to end")
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, what="its process to end")
    assert os.getpid() != pid
    assert "Traceback" not in worker.log.read_text()
