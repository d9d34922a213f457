"""`RQWorker`: takes the place of `rq.Worker`; its jobs run in one warm process."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from resource import struct_rusage
from types import FrameType
from typing import Any

from rq.callbacks import execute_stopped_callback
from rq.command import parse_payload
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.utils import as_text, now
from rq.worker.base import SHUTDOWN_SIGNAL, logger

from taskq.worker.foreign.horse import Horse, News
from taskq.worker.foreign.riding import ride
from taskq.worker.foreign.sparing import SparingWorker

_OVERDUE = 60
_STOPPED = "Job stopped by user, work-horse terminated."


class RQWorker(SparingWorker):
    """A drop-in for `rq.Worker`: the same constructor and ``work()``; jobs run in a warm process instead of a fork each.

    Args:
        args: as `rq.Worker` takes them. ``kwargs``: the same.
        recycle_after: replace the process that runs jobs after so many; never if None. A subclass may set it as an attribute, for programs
            that make workers of a class that they are told (``rq worker --worker-class``).

    Raises:
        ValueError: ``recycle_after`` is less than 1.
    """

    recycle_after: int | None = None

    def __init__(self, *args: Any, recycle_after: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.recycle_after = recycle_after if recycle_after is not None else self.recycle_after
        if self.recycle_after is not None and self.recycle_after < 1:
            raise ValueError(f"recycle_after must be at least 1, not {self.recycle_after}")
        self._horse: Horse | None = None
        self._recycle = False
        self._riding: str | None = None  # the job that the horse has
        # Commands arrive on a thread, and signals within whatever the main thread does. Held where the horse gets or loses a job.
        self._reins = threading.RLock()

    # -- life of the worker ---------------------------------------------------------------------------------
    def subscribe(self) -> None:
        """As RQ's; the horse is forked first, while this is the only thread."""
        self._saddle()
        super().subscribe()

    def _install_signal_handlers(self) -> None:
        super()._install_signal_handlers()
        signal.signal(signal.SIGUSR1, self.request_recycle)

    def request_recycle(self, signum: int | None = None, frame: FrameType | None = None) -> None:
        """Run the next job in a new process, which imports everything anew."""
        del signum, frame
        self._recycle = True

    def handle_payload(self, message: dict[Any, Any]) -> None:
        """RQ's commands, and ``recycle``."""
        if parse_payload(message)["command"] == "recycle":
            self.log.info("Worker %s: received recycle command", self.name)
            self.request_recycle()
        else:
            super().handle_payload(message)

    def teardown(self) -> None:
        """As RQ's; the horse ends as well, one that has a job after that."""
        try:
            super().teardown()
        finally:
            horse, self._horse = self._horse, None
            if horse is not None and not self.is_horse:
                if self._riding is None:
                    horse.dismiss()
                else:
                    horse.release()

    # -- a job ----------------------------------------------------------------------------------------------
    def execute_job(self, job: Job, queue: Queue) -> None:
        """Have the horse perform the job, and wait until that has ended in whatever way."""
        self._stopped_job_id = None
        with self.noting():
            try:
                self._saddle()  # before anything is noted: where there can be no process, the job has not begun
            except OSError:
                self.put_back(job, queue)
                raise
            execution, fields = self.outlast(partial(self.begin, job, queue))
            order: dict[str, Any] = {"job": job.id, "queue": queue.key, "fields": fields, "execution": execution.id}
            order.update(since=execution.created_at.timestamp(), stopped=False)
            horse = self._give(order)
            ended = self._watch(horse, job, execution)
            self._unhorse(horse, dead=not ended)
            self.executions.pop(execution.id, None)
            if not ended:
                self._settle(horse, job, queue, execution, order)
            self.turn()

    def _saddle(self) -> Horse:
        """The horse; a new one where there is none, it has died, or it has run its jobs.

        Raises:
            OSError: it can't be forked.
        """
        horse = self._horse
        if horse is not None:
            done = self.recycle_after is not None and horse.jobs >= self.recycle_after
            if horse.alive and not (done or horse.spent or self._recycle):
                return horse
            self._horse = None
            horse.dismiss()
        self._recycle = False
        parent = os.getpid()
        self._horse = Horse.start(lambda link: ride(self, link, parent))
        return self._horse

    def _give(self, order: dict[str, Any]) -> Horse:
        horse = self._saddle()
        try:
            with self._reins:
                horse.give(order)
                self._riding, self._horse_pid = order["job"], horse.pid
        except OSError:  # it has died just now, and so has not begun
            horse.kill(signal.SIGKILL)
            horse.wait()
            with self._reins:
                horse = self._saddle()
                horse.give(order)
                self._riding, self._horse_pid = order["job"], horse.pid
        if self._stopped_job_id == order["job"] and not order["stopped"]:
            self.kill_horse()  # the command came when the job was noted, and no horse had it yet
        self.procline(f"Riding {horse.pid}")
        return horse

    def _watch(self, horse: Horse, job: Job, execution: Execution) -> bool:
        """Wait for the end of the job, with heartbeats; whether the horse has said that it has ended."""
        job.started_at = now()
        while (news := horse.hear(self.job_monitoring_interval)) is News.NONE:
            working_time = (now() - job.started_at).total_seconds()
            if job.timeout is not None and job.timeout != -1 and working_time > job.timeout + _OVERDUE:
                self.heartbeat(self.job_monitoring_interval + _OVERDUE)
                self.kill_horse()
                return False
            self.maintain_heartbeats(job, execution)
        return news is News.DONE

    def _unhorse(self, horse: Horse, *, dead: bool) -> None:
        """The horse has no job any more."""
        with self._reins:
            self._riding, self._horse_pid = None, 0
            if dead:
                horse.wait()

    def _settle(self, horse: Horse, job: Job, queue: Queue, execution: Execution, order: dict[str, Any]) -> None:
        """The horse died with a job: record the job as stopped or failed, unless its end had been recorded before."""
        status, usage = horse.wait()
        if self.outlast(partial(self._recorded, job, execution)):
            self._stopped_job_id = None  # too late
        elif self._stopped_job_id == job.id:
            self._settle_stopped(job, queue, execution, order)
        else:
            job.ended_at = now()
            by = f" (signal {os.WTERMSIG(status)})" if os.WIFSIGNALED(status) else ""
            reason = f"Work-horse terminated unexpectedly; waitpid returned {status}{by}; "
            self.log.warning("Worker %s: job %s failed (%s)", self.name, job.id, reason)
            self.handle_work_horse_killed(job, horse.pid, status, usage)
            self.handle_job_failure(job, queue=queue, exc_string=reason, execution=execution)

    def _recorded(self, job: Job, execution: Execution) -> bool:
        """Whether the end of ``execution`` stands in Redis: its job may have been enqueued again, and have begun elsewhere."""
        with self.connection.pipeline() as pipeline:
            pipeline.zscore(job.started_job_registry.key, execution.composite_key)
            pipeline.hget(job.key, "status")
            begun, status = pipeline.execute()
        return begun is None or as_text(status or b"") in {"", JobStatus.FINISHED, JobStatus.FAILED}

    # -- stops ----------------------------------------------------------------------------------------------
    def kill_horse(self, sig: signal.Signals = SHUTDOWN_SIGNAL) -> None:
        """Send the horse a signal, SIGKILL to all below it, too, if it has a job, and that is the one to be stopped."""
        with self._reins:
            # A command to stop a job marks it and calls this, on a thread of its own; by then the horse may have the next one.
            if self._horse is None or self._riding is None:
                self.log.debug("Worker %s: no job is to be killed", self.name)
            elif self._stopped_job_id not in {None, self._riding} and threading.current_thread() is not threading.main_thread():
                self._stopped_job_id = None
                self.log.debug("Worker %s: the job has ended", self.name)
            elif self._horse.kill(sig):
                self.log.info("Worker %s: killed horse pid %s", self.name, self._horse.pid)

    def wait_for_horse(self) -> tuple[int | None, int | None, struct_rusage | None]:
        """Wait for the end of the horse, which was killed: its id, its status as of ``waitpid``, and what it used."""
        if self._horse is None:
            return None, None, None
        try:
            status, usage = self._horse.wait()
        except ChildProcessError:  # this is a signal's handler, and who was interrupted has just waited for it
            return None, None, None
        return self._horse.pid, status, usage

    def _settle_stopped(self, job: Job, queue: Queue, execution: Execution, order: dict[str, Any]) -> None:
        self.log.warning("Worker %s: job %s stopped by user, moving job to FailedJobRegistry", self.name, job.id)
        if job._stopped_callback_name:
            # It is the job's code, and so runs in a horse; one that dies of it must not keep the job from being recorded.
            horse = self._give(order | {"stopped": True})
            news, started, patience = News.NONE, now(), job.stopped_callback_timeout + _OVERDUE
            while news is News.NONE and (now() - started).total_seconds() < patience:
                news = horse.hear(min(patience, self.job_monitoring_interval))
                self.heartbeat(self.job_monitoring_interval + _OVERDUE)
            if news is News.NONE:
                self.kill_horse()
            self._unhorse(horse, dead=news is not News.DONE)
            if news is News.DONE or self.outlast(partial(self._recorded, job, execution)):
                self._stopped_job_id = None
                return
        self.handle_job_failure(job, queue=queue, exc_string=_STOPPED, execution=execution)

    # -- in the horse ---------------------------------------------------------------------------------------
    def become_horse(self) -> None:
        """This process is a fork of the worker's, and runs its jobs."""
        self._is_horse, self._horse, self.log = True, None, logger
        self.setup_work_horse_signals()

    def record_stop(self, job: Job, queue: Queue, execution: Execution) -> None:
        """Run the callback of a job that was stopped, and record the job."""
        self._stopped_job_id = job.id
        try:
            execute_stopped_callback(job, self.death_penalty_class)
        except Exception:
            self.log.exception("Worker %s: stopped callback for job %s raised", self.name, job.id)
        self.handle_job_failure(job, queue=queue, exc_string=_STOPPED, execution=execution)
