"""The warm process that runs jobs: what lasts from one job to the next, what does not, and how it is replaced."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
import redis as redis_py
from rq import Queue, Retry
from rq.command import send_command
from rq.job import Job
from rq.worker_pool import WorkerPool
from support import legacy
from support.foreign import Started, Workers
from support.waiting import until

from taskq.registry.settings import Settings
from taskq.worker.foreign import RQWorker, claim, horse
from taskq.worker.foreign.horse import Horse

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
    worker = workers.burst(RQWorker, made={"recycle_after": 2})
    first, second, third, fourth, fifth = (job.return_value() for job in jobs)
    assert first == second != third == fourth != fifth, worker.log.read_text()


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


def test_a_job_whose_end_is_recorded_is_not_recorded_again(workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    job = queue.enqueue(legacy.close_all_and_fail, "calls", retry=Retry(max=2))  # the horse can't say that the job has ended
    worker = workers.burst(RQWorker)
    assert (bare.get("calls"), job.get_status(), worker.field("failed_job_count")) == (b"3", "failed", "3")


def test_a_process_that_is_not_fit_for_another_job_is_replaced(workers: Workers, queue: Queue) -> None:
    jobs = [queue.enqueue(legacy.say, "first"), queue.enqueue(legacy.close_output), queue.enqueue(legacy.say, "second")]
    worker = workers.burst(RQWorker)
    assert [job.get_status() for job in jobs] == ["finished"] * 3
    assert {"first", "second"} <= set(worker.log.read_text().splitlines())


def test_a_job_stays_queued_where_no_process_can_be_made_for_it(workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    def no_second() -> None:
        start = Horse.start

        def start_once(ride: Callable[..., NoReturn]) -> Horse:
            if bare.incr("processes") > 1:
                raise BlockingIOError(errno.EAGAIN, "no process")
            return start(ride)

        Horse.start = start_once  # type: ignore[method-assign]  # in the worker's process alone

    for queues in (("legacy",), ("legacy", "other")):
        bare.flushall()
        jobs = [queue.enqueue(legacy.add, number) for number in range(3)]
        worker = workers.start(RQWorker, *queues, before=no_second, made={"recycle_after": 1})
        worker.wait()
        assert "no process" in worker.log.read_text()
        assert [job.get_status() for job in jobs] == ["finished", "queued", "queued"]
        assert queue.get_job_ids() == [jobs[1].id, jobs[2].id]
        assert not bare.exists(queue.intermediate_queue_key)


def test_it_is_dismissed_at_once_beside_a_scheduler(workers: Workers, queue: Queue) -> None:
    def patient() -> None:
        horse._FAREWELL = 600.0  # type: ignore[misc]  # in the worker's process alone

    worker = workers.idle(RQWorker, with_scheduler=True, before=patient)  # the scheduler's process is a fork, and has all descriptors
    (first,) = finished(queue.enqueue(legacy.process))
    worker.signal(signal.SIGUSR1)
    until(lambda: finished(queue.enqueue(legacy.process)) != [first], what="another process")


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


def test_orphans_are_reaped_however_many_a_job_leaves(workers: Workers, queue: Queue) -> None:
    worker = workers.idle(RQWorker)
    finished(*(queue.enqueue(legacy.leave_orphans, 5) for _ in range(3)))

    def ended() -> bool:
        return all(child.status() == psutil.STATUS_ZOMBIE for child in horse_of(worker).children())

    until(ended, what="the orphans to end")
    finished(queue.enqueue(legacy.process), queue.enqueue(legacy.process))
    until(lambda: worker.state() == "idle", what="the second job to be over")
    assert horse_of(worker).children() == []


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


def test_a_stop_that_comes_before_the_process_has_the_job_stops_it(workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    def early() -> None:
        begin = RQWorker.begin

        def begin_and_stop(self: RQWorker, job: Job, queue: Queue) -> object:
            begun = begin(self, job, queue)
            send_command(bare, self.name, "stop-job", job_id=job.id)
            until(lambda: self._stopped_job_id == job.id, what="the command")
            return begun

        RQWorker.begin = begin_and_stop  # type: ignore[assignment,method-assign]  # in the worker's process alone

    job = queue.enqueue(legacy.hold, "held")
    workers.start(RQWorker, before=early)
    until(lambda: job.get_status() == "stopped", what="the job to be stopped")


def test_a_stop_that_came_too_late_does_not_shield_a_job_from_a_cold_shutdown(workers: Workers, queue: Queue) -> None:
    def late() -> None:
        give = RQWorker._give

        def give_and_mark(self: RQWorker, order: dict[str, object]) -> Horse:
            given = give(self, order)
            self._stopped_job_id = "ended"
            return given

        RQWorker._give = give_and_mark  # type: ignore[assignment,method-assign]  # in the worker's process alone

    queue.enqueue(legacy.hold, "held")
    worker = workers.start(RQWorker, before=late)
    until(lambda: queue.connection.get("held"), what="the job to begin")
    worker.signal(signal.SIGTERM)
    until(lambda: worker.field("shutdown_requested_date"), what="the request to be noted")

    def again() -> bool:
        worker.signal(signal.SIGTERM)
        return "cold shut down" in worker.log.read_text()

    until(again, what="the cold shutdown")
    assert worker.wait() == 7


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
    psutil.wait_procs(others, timeout=10)


def test_nothing_keeps_a_killed_workers_wait_for_a_job_open(workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    worker = workers.idle(RQWorker, "legacy", "other", with_scheduler=True)
    until(lambda: int(bare.info("clients")["blocked_clients"]) == 1, what="the worker to wait for a job")
    below = psutil.Process(worker.pid).children()
    assert len(below) == 2
    try:
        worker.signal(signal.SIGKILL)
        worker.wait()
        until(lambda: int(bare.info("clients")["blocked_clients"]) == 0, what="the end of the wait")
        job = queue.enqueue(legacy.add, 1)
        assert queue.get_job_ids() == [job.id]
    finally:
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(below, timeout=10)


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


def test_a_signal_when_the_first_job_is_taken_loses_no_job(workers: Workers, queue: Queue, bare: redis_py.Redis) -> None:
    def pulled() -> None:
        reorder = RQWorker.reorder_queues  # what RQ calls first with a job that it has taken

        def reorder_and_stop(self: RQWorker, reference_queue: Queue) -> None:
            reorder(self, reference_queue)
            os.kill(os.getpid(), signal.SIGTERM)

        RQWorker.reorder_queues = reorder_and_stop  # type: ignore[method-assign]  # in the worker's process alone

    jobs = [queue.enqueue(legacy.add, number) for number in range(2)]
    assert workers.start(RQWorker, "other", "legacy", before=pulled).wait() == 0
    assert [job.get_status() for job in jobs] == ["finished", "queued"]


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


def test_a_process_that_can_not_be_watched_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def ride(_link: object) -> NoReturn:
        signal.pause()
        os._exit(0)

    before = psutil.Process().children(), psutil.Process().num_fds()
    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        Horse.start(ride)
    assert (psutil.Process().children(), psutil.Process().num_fds()) == before


def test_a_crew_goes_on_where_no_process_can_be_made_for_a_while() -> None:
    code = (
        "import errno, logging, os, signal, sys\n"
        "from taskq.worker.foreign.crew import Crew\n"
        "fork, tries = os.fork, []\n"
        "def refusing():\n"
        "    tries.append(0)\n"
        "    if len(tries) == 2: raise BlockingIOError(errno.EAGAIN, 'no processes')\n"
        "    return fork()\n"
        "os.fork = refusing\n"
        "def work(number):\n"
        "    if number > 1: os.kill(os.getppid(), signal.SIGTERM)\n"
        "logging.basicConfig(level='INFO', stream=sys.stderr)\n"
        "sys.exit(Crew(1, work, replaces=True).work())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, "can't be started" in ended.stderr) == (0, True), ended.stderr
