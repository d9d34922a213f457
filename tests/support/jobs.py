"""RQ jobs as users of rq-scheduler write them, stock workers that run them, and `FleetScheduler` processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from redis import Redis
from rq import Queue, get_current_job
from rq.job import Job
from support.command import environment

from taskq.producer.scheduler import FleetScheduler
from taskq.registry.settings import Settings

TESTS = Path(__file__).resolve().parents[1]


# -- functions of jobs -----------------------------------------------------------------------------------------
def add(a: int, b: int = 0) -> int:
    return a + b


def note(key: str) -> str:
    """Leaves the id of its job in a list."""
    job = get_current_job()
    assert job is not None
    job.connection.rpush(key, job.id)
    return job.id


def fail() -> None:
    raise ValueError("on purpose")


def told(job: Job, connection: Redis, *_: object) -> None:
    """A callback."""
    connection.rpush("told", job.id)


class Machine:
    """A job whose function is a method, and whose instance is pickled."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def times(self, number: int) -> int:
        return self.factor * number


class OwnQueue(Queue):
    """A queue class of the user's own."""

    redis_queue_namespace_prefix = "own:queue:"
    DEFAULT_TIMEOUT = 7


class OwnJob(Job):
    """A job class of the user's own."""

    redis_job_namespace_prefix = "own:job:"


# -- what there is ----------------------------------------------------------------------------------------------
def now(redis: Redis) -> datetime:
    """Redis' clock, as a datetime in UTC."""
    seconds, micros = redis.time()
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)


def naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def queued(redis: Redis, name: str = "default") -> list[str]:
    return Queue(name, connection=redis).job_ids


def time_of(scheduler: FleetScheduler, job: Job) -> datetime:
    """When a job is due, as `get_jobs` says."""
    return next(when for found, when in scheduler.get_jobs(with_times=True) if found.id == job.id)


# -- processes -------------------------------------------------------------------------------------------------
def work(settings: Settings, *queues: str) -> str:
    """Have a stock ``rq worker`` run all that is queued; what it wrote."""
    command = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", str(settings.redis_url), *(queues or ("default",))]
    done = subprocess.run(command, env=_environment(settings), cwd=TESTS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


_MAIN = """
import logging, sys
from redis import Redis
from taskq.producer.scheduler import FleetScheduler
from taskq.registry.settings import Settings
logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
settings = Settings.load()
FleetScheduler(connection=Redis.from_url(settings.redis_url), settings=settings, name=NAME, interval=INTERVAL, registry=REGISTRY).run()
"""


class Process:
    """A program that runs a `FleetScheduler`."""

    def __init__(self, settings: Settings, folder: Path, name: str, *, interval: float = 60, registry: bool = False, **more: str) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        code = f"NAME, INTERVAL, REGISTRY = {name!r}, {interval!r}, {registry!r}\n{_MAIN}"
        values = {"TASKQ_SCHEDULER_LEASE": f"{settings.scheduler_lease:g}", **more}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", code], env=_environment(settings, **values), stdout=out, stderr=out
            )

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(10)

    def text(self) -> str:
        """What it wrote."""
        return self.log.read_text()[-5000:]


def kill_all(processes: list[Process]) -> None:
    """Kill those that are still there."""
    for process in processes:
        if process.process.poll() is None and psutil.pid_exists(process.process.pid):
            process.kill()


def _environment(settings: Settings, **more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH", ""))))
    return environment(settings, PYTHONPATH=path, **more)
