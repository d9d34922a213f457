"""`SparingWorker`: RQ's loop with fewer questions to Redis.

Between two jobs in a row (the worker is *turning*) RQ tells its state twice, heartbeats four times, asks for a suspension, takes a job and
fetches it, each in a round trip of its own. Here all that is one script (`claim`); where it finds no job, RQ's own way follows. And what
worker and horse note before a job begins, one after the other, is one transaction, whose last command reads the job as the horse needs it.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError as NoAnswer
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.logutils import blue, green
from rq.queue import Queue
from rq.utils import now
from rq.worker.base import WorkerStatus

from taskq.registry import clock
from taskq.worker.foreign import claim
from taskq.worker.foreign.patience import PatientWorker

if TYPE_CHECKING:
    from redis.client import Pipeline


class SparingWorker(PatientWorker):
    """A `BaseWorker` whose keys hold the same after each step, at a third of the round trips. It does not say how a job is executed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_heartbeat: datetime | None = None
        self._turning = False  # a job has just ended, and what is to be said of it is said with the next claim
        self._claiming = False  # a job may have been taken that is not noted yet: a stop must wait for it
        self._fits: bool | None = None
        self._known: dict[str, Queue] = {}

    # -- between two jobs -----------------------------------------------------------------------------------
    def turn(self) -> None:
        """A job has ended: be idle, and say so when the next one is asked for."""
        if self._fits is None:
            self._fits = claim.fits(self)
        if self._fits:
            self._state, self._turning = WorkerStatus.IDLE, True
        else:
            self.outlast(partial(self.set_state, WorkerStatus.IDLE))

    def queue_of(self, key: str) -> Queue:
        """The queue of a key in Redis; RQ makes one anew for each job."""
        queue = self._known.get(key)
        if queue is None:
            queue = self._known[key] = self.queue_class.from_queue_key(
                key,
                connection=self.connection,
                job_class=self.job_class,
                serializer=self.serializer,
                death_penalty_class=self.death_penalty_class,
            )
        return queue

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """As RQ's, in one round trip; none at all between two jobs."""
        if pipeline is not None or not self._turning:
            super().heartbeat(timeout, pipeline)

    def check_for_suspension(self, burst: bool) -> None:
        """As RQ's; between two jobs the claim looks itself."""
        if not self._turning:
            super().check_for_suspension(burst)

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> tuple[Job, Queue] | None:
        """As RQ's; tried with one call first where a job has just ended."""
        if self._turning:
            found = self._claim(burst=timeout is None)
            if found is not None:
                return found
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def reorder_queues(self, reference_queue: Queue) -> None:
        """As RQ's, which calls it first when it has taken a job."""
        self._claiming = True
        super().reorder_queues(reference_queue)

    def put_back(self, job: Job, queue: Queue) -> None:
        """Put a job that was taken, and has not begun, where it was."""
        with self.connection.pipeline() as pipeline:
            queue.push_job_id(job.id, pipeline=pipeline, at_front=True)
            if len(self.queues) == 1:
                pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
            pipeline.execute()
        self._claiming = False

    def _claim(self, *, burst: bool) -> tuple[Job, Queue] | None:
        found: tuple[Job, Queue] | claim.Nothing = claim.Nothing.EMPTY
        self._claiming = True
        try:
            found = claim.take(self)
        except (ConnectionLost, NoAnswer):
            self.log.warning("Worker %s: no answer from Redis", self.name)  # RQ's way follows, which waits for it
        finally:
            self._turning, self._claiming = False, not isinstance(found, claim.Nothing)
        if isinstance(found, claim.Nothing):
            if found is claim.Nothing.SUSPENDED and not self._stop_requested:
                self.check_for_suspension(burst)
            if self._stop_requested:
                raise StopRequested
            return None
        job, queue = found
        self.reorder_queues(reference_queue=queue)
        job.redis_server_version = self.get_redis_server_version()
        if self.log_job_description:
            self.log.info("Worker %s: %s: %s (%s)", self.name, green(queue.name), blue(job.description), job.id)
        else:
            self.log.info("Worker %s: %s: %s", self.name, green(queue.name), job.id)
        return found

    def _shutdown(self) -> None:
        """As RQ's, but a job that may have been taken is run first, as one that has begun."""
        if self._claiming:
            self._state = WorkerStatus.BUSY
        super()._shutdown()

    def teardown(self) -> None:
        """As RQ's."""
        if self._turning and not self.is_horse:
            self._turning = False
            with self._leniently("its state"):
                self.set_state(WorkerStatus.IDLE)
        super().teardown()

    # -- before and after a job -----------------------------------------------------------------------------
    def begin(self, job: Job, queue: Queue) -> tuple[Execution, dict[bytes, bytes]]:
        """Note that ``job`` of ``queue`` begins: what RQ's worker and its horse note, in one transaction. The worker is busy from now on.

        Returns:
            its execution, and the job's hash as it is then.
        """
        with self.connection.pipeline() as pipeline:
            for unsure in list(self.executions.values()):  # was noted, or not: Redis has not answered
                self.cleanup_execution(job, pipeline, unsure)
            ttl = self.get_heartbeat_ttl(job)
            execution = Execution.create(job, ttl, pipeline=pipeline, worker_name=self.name)
            self.executions[execution.id] = execution
            self.set_state(WorkerStatus.BUSY, pipeline=pipeline)
            self._claiming = False
            self.heartbeat(ttl, pipeline=pipeline)
            job.prepare_for_execution(self.name, pipeline=pipeline)  # tells the job's heartbeat as well
            pipeline.persist(job.key)
            if len(self.queues) == 1:
                pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
            pipeline.hgetall(job.key)
            fields: dict[bytes, bytes] = pipeline.execute()[-1]
        if b"data" not in fields:  # it was deleted since it was taken; RQ runs what it has taken all the same
            encode = self.connection.get_encoder().encode
            fields = {key.encode(): encode(value) for key, value in job.to_dict().items()}
        return execution, fields

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """In the horse: all but the title of the process was noted by `begin`."""
        if not self.is_horse:
            super().prepare_job_execution(job, remove_from_intermediate_queue)
        else:
            self.procline(f"Processing {job.func_name} from {job.origin} since {clock.now()}")

    def handle_execution_ended(self, job: Job, queue: Queue, heartbeat_ttl: int) -> None:
        """As RQ's; where the job's outcome follows at once and holds the heartbeat, it isn't told beforehand."""
        if job.get_status(refresh=False) == JobStatus.FAILED or job._success_callback_name:
            super().handle_execution_ended(job, queue, heartbeat_ttl)
        else:
            job.ended_at = job.last_heartbeat = now()
