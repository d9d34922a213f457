"""A registry written by hand, scheduler processes under test, and the slots that became runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from redis import Redis
from support.command import environment
from support.waiting import until

from taskq.registry.effects import run_sync
from taskq.registry.keys import Keys
from taskq.registry.model.change import Change, TaskChange
from taskq.registry.model.record import Route, TaskRecord
from taskq.registry.model.scheduler import SchedulerReport, ScheduleState
from taskq.registry.model.spec import Spec
from taskq.registry.runtime.schedulers import live_schedulers
from taskq.registry.settings import Settings


class Registry:
    """Tasks with schedules, committed as the registry commits them, and what has been fired of them."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.redis, self.keys = redis, keys

    def now(self) -> int:
        """Redis' clock in ms."""
        seconds, micros = self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def put(self, *tasks: str, since: int | None = None, version: int = 1, **spec: Any) -> int:
        """Tasks with this spec, changed ``since`` (ms; now if None), as one change; returns the revision."""
        made = Spec.model_validate(spec)
        records = [TaskRecord(task=task, route=Route(stable=version), latest=version, spec=made) for task in tasks]
        return self.commit(*records, since=since)

    def set_state(self, task: str, state: str) -> int:
        """Pause, resume or retire a task."""
        blob = self.redis.hget(self.keys.registry, task)
        assert blob is not None
        return self.commit(TaskRecord.load(blob).model_copy(update={"state": state}))

    def commit(self, *records: TaskRecord, since: int | None = None) -> int:
        """One change; returns the revision."""
        revision = int(self.redis.get(self.keys.revision) or 0) + 1
        at = (self.now() if since is None else since) / 1000
        entry = Change(revision=revision, type="set", action="set", at=at, tasks=tuple(TaskChange(task=r.task, after={}) for r in records))
        with self.redis.pipeline(transaction=True) as pipe:
            for record in records:
                pipe.hset(self.keys.registry, record.task, record.model_copy(update={"revision": revision, "changed_at": at}).dump())
            pipe.set(self.keys.revision, revision)
            names = "\n".join(record.task for record in records)
            pipe.xadd(self.keys.changelog, {"tasks": names, "change": entry.dump()}, id=f"{revision}-0")
            pipe.publish(self.keys.changes, "{}")
            pipe.execute()
        return revision

    # -- what was fired ------------------------------------------------------------------------------------
    def queued(self, queue: str = "default") -> list[str]:
        """Runs in a queue, as they stand there."""
        return [run.decode() for run in self.redis.lrange(self.keys.rq_queue(queue), 0, -1)]

    def slots(self, task: str, queue: str = "default") -> list[int]:
        """Slots of a task whose runs are in the queue, in the order of the queue; a run that is there twice counts twice."""
        runs = self.queued(queue)
        with self.redis.pipeline(transaction=False) as pipe:
            for run in runs:
                pipe.hmget(self.keys.rq_job(run), "task", "cause")
            rows = pipe.execute()
        return [slot_of(cause.decode()) for name, cause in rows if name == task.encode()]

    def state(self, name: str) -> ScheduleState:
        """What has become of a schedule's slots."""
        blob = self.redis.hget(self.keys.scheduler_state, name)
        return ScheduleState.load(blob) if blob else ScheduleState()

    def due(self, name: str) -> float | None:
        """Its due slot in ms."""
        score = self.redis.zscore(self.keys.scheduler_due, name)
        return None if score is None else float(score)

    def finish(self, run: str) -> None:
        """The run is over, and out of the queue."""
        self.redis.hset(self.keys.rq_job(run), "status", "finished")
        self.redis.lrem(self.keys.rq_queue("default"), 0, run)


def slot_of(cause: str) -> int:
    """The slot that a run names as its cause, in ms."""
    return round(datetime.fromisoformat(cause.rpartition("@")[2]).timestamp() * 1000)


def assert_seamless(slots: list[int], period: int) -> None:
    """No slot is missing, none is there twice, and they are in order."""
    doubled = [slot for slot, count in Counter(slots).items() if count > 1]
    assert not doubled, f"doubled: {doubled}"
    missing = sorted(set(range(slots[0], slots[-1] + 1, period)) - set(slots))
    assert not missing, f"missing: {missing}"
    assert slots == sorted(slots), "not in order"


_MAIN = """
import logging, sys
from taskq.producer.scheduler.process import run_scheduler
from taskq.registry.settings import Settings
logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
sys.exit(run_scheduler(Settings.load(), NAME, dedicated=True))
"""


class Scheduler:
    """One scheduler process."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def text(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text()[-5000:]


class Schedulers:
    """Scheduler processes on one server."""

    def __init__(self, settings: Settings, redis: Redis, folder: Path) -> None:
        self.settings, self.redis, self.folder = settings, redis, folder
        self.keys = Keys(settings.namespace, settings.rq_prefix)
        self.all: list[Scheduler] = []

    def start(self, name: str = "", *, ready: bool = True, **more: str) -> Scheduler:
        """A further one; returns once it leads or stands by."""
        name = name or f"s{len(self.all) + 1}"
        log = self.folder / f"{name}.log"
        values = {
            "TASKQ_SCHEDULER_LEASE": f"{self.settings.scheduler_lease:g}",
            "TASKQ_MISFIRE_AFTER": f"{self.settings.misfire_after:g}",
            **more,
        }
        code = f"NAME = {name!r}\n{_MAIN}"
        with log.open("ab") as out:
            process = subprocess.Popen([sys.executable, "-c", code], env=environment(self.settings, **values), stdout=out, stderr=out)
        made = Scheduler(name, process, log)
        self.all.append(made)
        if ready:
            until(lambda: "leads" in made.text(), 30, f"{name} has started\n{made.text()}")
        return made

    def leader(self) -> str:
        """Who leads, by the lease; ``""`` for nobody."""
        value = self.redis.get(self.keys.scheduler_lease)
        return value.decode().partition("|")[2] if value else ""

    def until_leads(self, name: str, timeout: float = 10.0) -> None:
        """Wait until this one leads."""
        until(lambda: self.leader() == name, timeout, f"{name} leads\n{self.texts()}")

    def reports(self) -> list[SchedulerReport]:
        """Those that are alive."""
        return run_sync(live_schedulers(self.keys, self.settings), self.redis)

    def texts(self) -> str:
        """What all wrote last."""
        return "\n".join(f"--- {scheduler.name}\n{scheduler.text()}" for scheduler in self.all)

    def stop(self) -> None:
        """End all; each must go by itself, with exit code 0."""
        alive = [scheduler for scheduler in self.all if scheduler.process.poll() is None]
        for scheduler in alive:
            os.kill(scheduler.process.pid, signal.SIGCONT)
            scheduler.send(signal.SIGTERM)
        codes = {}
        for scheduler in alive:
            try:
                codes[scheduler.name] = scheduler.process.wait(10)
            except subprocess.TimeoutExpired:
                scheduler.kill()
                codes[scheduler.name] = -9
        assert not any(codes.values()), f"{codes}\n{self.texts()}"
