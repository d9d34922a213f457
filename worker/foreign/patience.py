"""`PatientWorker`: RQ's loop, which outlasts an outage of Redis and tells why it ends.

RQ's worker waits for Redis where it asks for a job. Wherever else there is no answer (a heartbeat while a job runs, most of all) it ends,
with exit code 0, and its job is found abandoned by somebody's maintenance a minute later. Here each of these steps is done again
after a pause, and a heartbeat that can't be told is left out. A worker that is to stop does not wait.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import TimeoutError as NoAnswer
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.worker.base import BaseWorker

if TYPE_CHECKING:
    from typing import Any

    from redis.client import Pipeline
    from rq.queue import Queue

T = TypeVar("T")

_PAUSE: Final = 1.0
_LONGEST: Final = 5.0


class PatientWorker(BaseWorker):
    """A `BaseWorker` that goes on when Redis is back.

    Attributes:
        failure: what ended the loop, if an error did: `work` logs it and returns as always.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.failure: Exception | None = None

    def outlast(self, step: Callable[[], T]) -> T:
        """Do ``step``; again, after a pause, as long as Redis does not answer. It must bear to be done twice.

        Raises:
            RedisError: Redis does not answer, and the worker is to stop. And whatever else ``step`` raises.
        """
        pause = _PAUSE
        while True:
            try:
                with self.noting():
                    return step()
            except (ConnectionLost, NoAnswer) as error:
                if self._stop_requested:
                    raise
                self.failure = None
                self.log.error("Worker %s: no answer from Redis (%s), trying again in %g seconds", self.name, error, pause)  # noqa: TRY400  # it is no error of the code
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST)

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Keep an error that is on its way to end the loop."""
        try:
            yield
        except StopRequested:
            raise
        except Exception as error:
            self.failure = error
            raise

    @contextlib.contextmanager
    def _leniently(self, what: str) -> Iterator[None]:
        """Go on without ``what`` where Redis does not answer."""
        try:
            yield
        except (ConnectionLost, NoAnswer) as error:
            self.log.warning("Worker %s: no answer from Redis, %s is left out (%s)", self.name, what, error)

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """As RQ's, in one round trip."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
            return
        with self._leniently("a heartbeat"), self.connection.pipeline() as together:
            super().heartbeat(timeout, together)
            together.execute()

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """As RQ's."""
        with self._leniently("a heartbeat"):
            super().maintain_heartbeats(job, execution)

    def set_shutdown_requested_date(self) -> None:
        """As RQ's. It is called by a signal's handler, in the middle of anything."""
        with self._leniently("the time of the request to stop"):
            super().set_shutdown_requested_date()

    def check_for_suspension(self, burst: bool) -> None:
        """As RQ's."""
        self.outlast(partial(super().check_for_suspension, burst))

    def run_maintenance_tasks(self) -> None:
        """As RQ's."""
        if self.scheduler:  # its process may be started anew
            self._keep_to_itself()
        self.outlast(super().run_maintenance_tasks)

    def _start_scheduler(self, *args: Any, **kwargs: Any) -> None:
        """As RQ's."""
        self._keep_to_itself()
        super()._start_scheduler(*args, **kwargs)

    def _keep_to_itself(self) -> None:
        # The scheduler's process is a fork that outlives a killed worker. With a copy of the connection on which the worker waited for
        # a job it would keep that wait open, and Redis would give the next job to nobody.
        self.connection.connection_pool.disconnect(inuse_connections=False)

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> tuple[Job, Queue] | None:
        """As RQ's. Once a job is taken and read, nothing here fails for want of Redis."""
        self.outlast(self.get_redis_server_version)  # is remembered
        return self.outlast(partial(super().dequeue_job_and_maintain_ttl, timeout, max_idle_time))
