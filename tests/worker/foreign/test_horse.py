"""The warm process that runs jobs: what lasts from one job to the next, what does not, and how it is replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis as redis_py
from rq import Queue
from rq.command import send_command
from rq.job import Job
from rq.worker_pool import WorkerPool
from support import legacy
from support.foreign import Started, Workers
from support.waiting import until

from taskq.registry.settings import Settings
from taskq.worker.foreign import RQWorker, claim

pytestmark = pytest.mark.process


def finished(*jobs: Job) -> list[object]:
    """Their results, once all have ended."""
    until(lambda: all(job.get_status() == "finished" for job in jobs), what="the jobs to end")
    return [job.return_value() for job in jobs]


def horse_of(worker: Started) -> psutil.Process:
    (horse,) = psutil.Process(worker.pid).children()
    return horse


def test_one_process_runs_one_job_after_the_other(workers: Workers, queue: Queue) -> None:
    jobs = [queue.enqueue(legacy.process) for _ in range(5)]
    worker = workers.burst(RQWorker)
    assert len({job.return_value() for job in jobs} - {worker.pid}) == 1


def test_it_is_replaced_after_so_many_jobs(workers: Workers, queue: Queue) -> None:
    jobs = [queue.enqueue(legacy.process) for _ in range(5)]
    workers.burst(RQWorker, made={"recycle_after": 2})
    first, second, third, fourth, fifth = (job.return_value() for job in jobs)
    assert first == second != third == fourth != fifth


def test_a_subclass_may_say_after_how_many(workers: Workers, queue: Queue) -> None:
    class Fresh(RQWorker):
        recycle_after = 1

    jobs = [queue.enqueue(legacy.process) for _ in range(3)]
    workers.burst(Fresh)
    assert len({job.return_value() for job in jobs}) == 3


def test_less_than_one_job_is_refused(bare: redis_py.Redis) -> None:
    with pytest.raises(ValueError, match="recycle_after must be at least 1, not 0"):
        RQWorker(["legacy"], connection=bare, recycle_after=0)


@pytest.mark.parametrize("way", ["command", "signal"])
def test_new_code_is_seen_when_it_is_recycled(
    way: str, workers: Workers, queue: Queue, bare: redis_py.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = tmp_path / "deployed.py"
    module.write_text("def answer(): return 'old'\n")
    worker = workers.idle(RQWorker)
    assert finished(queue.enqueue("deployed.answer")) == ["old"]
    module.write_text("def answer(): return 'new'\n")
    assert finished(queue.enqueue("deployed.answer")) == ["old"]
    old = horse_of(worker)
    if way == "command":
        send_command(bare, worker.name, "recycle")
        until(lambda: "received recycle command" in worker.log.read_text(), what="the command")
    else:
        worker.signal(signal.SIGUSR1)
    until(lambda: finished(queue.enqueue("deployed.answer")) == ["new"], what="the new code")
    assert not old.is_running()


def test_what_a_job_changes_of_its_process_is_put_back(workers: Workers, queue: Queue) -> None:
    before, _, after = queue.enqueue(legacy.look), queue.enqueue(legacy.spoil), queue.enqueue(legacy.look)
    workers.burst(RQWorker)
    assert after.return_value() == before.return_value()
    assert before.return_value()["spoilt"] is None


def test_a_job_that_forks_and_closes_what_is_not_its_own_is_survived(workers: Workers, queue: Queue) -> None:
    jobs = [queue.enqueue(function) for function in (legacy.close_all, legacy.fork_and_return, legacy.process)]
    workers.burst(RQWorker)
    assert [job.get_status() for job in jobs] == ["finished"] * 3


def test_a_large_job_is_taken_whole(workers: Workers, queue: Queue) -> None:
    jobs = [queue.enqueue(legacy.length, os.urandom(8_000_000)), queue.enqueue(legacy.length, b"")]
    workers.burst(RQWorker)
    assert [job.return_value() for job in jobs] == [8_000_000, 0]


def test_children_that_jobs_leave_are_reaped(workers: Workers, queue: Queue) -> None:
    worker = workers.idle(RQWorker)
    finished(*(queue.enqueue(legacy.leave_child) for _ in range(5)))

    def reaped() -> bool:
        finished(queue.enqueue(legacy.process))
        return horse_of(worker).children() == []

    until(reaped, what="the children to be reaped")


def test_one_that_dies_between_two_jobs_costs_none(workers: Workers, queue: Queue) -> None:
    worker = workers.idle(RQWorker)
    (first,) = finished(queue.enqueue(legacy.process))
    horse = horse_of(worker)
    assert horse.pid == first
    horse.kill()
    until(lambda: horse.status() == psutil.STATUS_ZOMBIE, what="its death")
    (second,) = finished(queue.enqueue(legacy.process))
    assert second not in {first, worker.pid}


def test_a_stop_that_comes_too_late_harms_no_other_job(workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    def late() -> None:
        kill = RQWorker.kill_horse

        def kill_the_job_that_has_ended(self: RQWorker, sig: signal.Signals = signal.SIGKILL) -> None:
            self._stopped_job_id = "ended"
            kill(self, sig)

        RQWorker.kill_horse = kill_the_job_that_has_ended  # type: ignore[method-assign]  # in the worker's process alone

    job = queue.enqueue(legacy.hold_back, "held", "go")
    worker = workers.start(RQWorker, before=late, made={"name": "late"}, logging_level="DEBUG")
    until(lambda: bare.get("held"), what="the job to begin")
    send_command(bare, "late", "stop-job", job_id=job.id)
    until(lambda: "the job has ended" in worker.log.read_text(), what="the command")
    bare.set("go", 1)
    assert finished(job) == ["went on"]


def test_it_ends_with_its_worker(workers: Workers, queue: Queue) -> None:
    worker = workers.idle(RQWorker)
    horse = horse_of(worker)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    until(lambda: not horse.is_running(), what="its end")


def test_it_ends_when_its_worker_is_killed(workers: Workers, queue: Queue) -> None:
    worker = workers.idle(RQWorker, with_scheduler=True)  # whose process holds the link open
    horse = next(child for child in psutil.Process(worker.pid).children() if finished(queue.enqueue(legacy.process)) == [child.pid])
    others = [child for child in psutil.Process(worker.pid).children() if child.pid != horse.pid]
    worker.signal(signal.SIGKILL)
    worker.wait()
    until(lambda: not horse.is_running() or horse.status() == psutil.STATUS_ZOMBIE, what="its end")
    for other in others:
        other.kill()


def test_a_signal_while_a_job_is_taken_loses_no_job(workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    def pulled() -> None:
        # The worker is told to end just after the script has taken the next job, before that is noted.
        take = claim.take

        def take_and_stop(worker: RQWorker) -> object:
            found = take(worker)
            if not isinstance(found, claim.Nothing):
                os.kill(os.getpid(), signal.SIGTERM)
            return found

        claim.take = take_and_stop  # type: ignore[assignment]  # in the worker's process alone

    jobs = [queue.enqueue(legacy.add, number) for number in range(3)]
    assert workers.start(RQWorker, before=pulled).wait() == 0
    assert [job.get_status() for job in jobs] == ["finished", "finished", "queued"]
    assert queue.get_job_ids() == [jobs[2].id]
    assert not bare.exists(queue.intermediate_queue_key)


def test_rq_worker_takes_it_as_worker_class(queue: Queue, settings: Settings) -> None:
    jobs = [queue.enqueue(legacy.process) for _ in range(2)]
    rq = Path(sys.executable).parent / "rq"
    words = ["worker", "--worker-class", "taskq.worker.foreign.RQWorker", "--burst", "-u", str(settings.redis_url), "legacy"]
    environment = os.environ | {"PYTHONPATH": str(Path(legacy.__file__).parent.parent)}
    subprocess.run([rq, *words], check=True, env=environment, timeout=60, capture_output=True)
    assert jobs[0].return_value() == jobs[1].return_value() is not None


def test_a_pool_of_rq_takes_it_as_worker_class(workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    jobs = [queue.enqueue(legacy.process) for _ in range(4)]
    pool = WorkerPool(["legacy"], connection=bare, num_workers=2, worker_class=RQWorker)
    pool.start_workers(burst=True)
    processes = [data.process for data in pool.worker_dict.values()]
    for process in processes:
        process.join(30)
        process.close()
    assert all(job.get_status() == "finished" for job in jobs)
