"""Worker processes under test, a registry written by hand, and runs enqueued by script: the worker's room on its own."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from support.command import environment
from support.waiting import until

from taskq.registry import codec, scripts
from taskq.registry.code.artifact import digest_of
from taskq.registry.keys import Keys
from taskq.registry.model.change import Change, TaskChange
from taskq.registry.model.record import Route, TaskRecord, VersionRecord
from taskq.registry.model.spec import Spec
from taskq.registry.model.worker import LoadReport, WorkerReport
from taskq.registry.serializer import dump_params
from taskq.registry.settings import Settings

_MAIN = """
import logging, sys
from taskq.worker import FleetWorker
logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
worker = FleetWorker(QUEUES, name=NAME, executors=EXECUTORS, dedicated=True, **OPTIONS)
sys.exit(worker.work(burst=BURST, max_jobs=MAX_JOBS, max_idle=MAX_IDLE))
"""
TERMINAL = ("finished", "failed", "canceled")


class Worker:
    """One worker process."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, log: Path) -> None:
        self.process, self.name, self.log = process, name, log

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def executors(self) -> list[psutil.Process]:
        """Its child processes."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children()
        return []

    def text(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text()[-6000:]


class Fleet:
    """A registry, queues and workers on one server."""

    def __init__(self, settings: Settings, redis: Redis, folder: Path) -> None:
        self.settings, self.redis, self.folder = settings, redis, folder
        self.keys = Keys(settings.namespace, settings.rq_prefix)
        self.workers: list[Worker] = []

    # -- the registry --------------------------------------------------------------------------------------
    def put(self, task: str, source: str, *, attribute: str | None = None, stable: bool = True, **spec: Any) -> int:
        """A further version of a task, from source; ``stable``: routed at once, else staged. Returns its number."""
        before = self.record(task)
        version = before.latest + 1 if before else 1
        data = source.encode()
        made = Spec.model_validate(spec)
        digest = digest_of(data)
        stored = VersionRecord(task=task, version=version, digest=digest, attribute=attribute or task, file=f"{task}.py", spec=made)
        self.redis.set(self.keys.code(stored.digest), data)
        self.redis.hset(self.keys.versions(task), str(version), stored.dump())
        route = Route(stable=version) if stable else Route(stable=before.route.stable if before else None, staged=version)
        self.change(TaskRecord(task=task, route=route, latest=version, spec=made if stable or not before else before.spec))
        return version

    def change(self, record: TaskRecord) -> int:
        """Commit a record as one change; returns the revision."""
        revision = int(self.redis.get(self.keys.revision) or 0) + 1
        record = record.model_copy(update={"revision": revision})
        entry = Change(revision=revision, type="set", action="set", at=0.0, tasks=(TaskChange(task=record.task, after={}),))
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(self.keys.registry, record.task, record.dump())
            pipe.set(self.keys.revision, revision)
            pipe.xadd(self.keys.changelog, {"tasks": record.task, "change": entry.dump()}, id=f"{revision}-0")
            pipe.publish(self.keys.changes, "{}")
            pipe.execute()
        return revision

    def record(self, task: str) -> TaskRecord | None:
        """A task's record."""
        blob = self.redis.hget(self.keys.registry, task)
        return TaskRecord.load(blob) if blob else None

    def set_state(self, task: str, state: str) -> None:
        """Pause, resume or retire a task."""
        record = self.record(task)
        assert record is not None
        self.change(record.model_copy(update={"state": state}))

    # -- runs ----------------------------------------------------------------------------------------------
    def enqueue(self, task: str, count: int = 1, *, queue: str = "default", pin: str = "", limit: str = "", **params: Any) -> list[str]:
        """Runs of a task, all with these parameters; returns their ids."""
        keys, ids = self.keys, [uuid.uuid4().hex for _ in range(count)]
        names = [keys.revision, keys.rq_queues, keys.rq_queue(queue), keys.runs, keys.runs_of(task), keys.events]
        names += [keys.scheduler_runs, keys.rq_registry("scheduled", queue)]
        for at in range(0, count, 500):
            args: list[Any] = ["", keys.rq, keys.queue_name(queue), task, 300, "test", 100_000]
            args += ["more", "", keys.scheduler_wake, 60, "", pin, limit]
            for run in ids[at : at + 500]:
                args += [run, dump_params(params), ""]
            scripts.load("enqueue").call(self.redis, names, args)
        return ids

    def field(self, run: str, name: str) -> str:
        """A field of a run's job."""
        value = self.redis.hget(self.keys.rq_job(run), name)
        return value.decode() if value else ""

    def ended(self, run: str, timeout: float = 15.0) -> str:
        """Wait for its end; returns RQ's status."""
        until(lambda: self.field(run, "status") in TERMINAL, timeout, f"run {run} ended; it is {self.field(run, 'status')}\n{self.texts()}")
        return self.field(run, "status")

    def result(self, run: str, timeout: float = 15.0) -> Any:
        """Wait for its result."""
        assert self.ended(run, timeout) == "finished", f"{self.field(run, 'reason')}: {self.field(run, 'error')}\n{self.texts()}"
        ((_, entry),) = self.redis.xrevrange(self.keys.rq_results(run), count=1)
        return codec.loads(base64.b64decode(entry[b"return_value"]))

    def failure(self, run: str, timeout: float = 15.0) -> tuple[str, str]:
        """Wait for its failure; returns reason and error."""
        assert self.ended(run, timeout) == "failed"
        return self.field(run, "reason"), self.field(run, "error")

    def attempts(self, run: str) -> list[dict[str, Any]]:
        """Records of its earlier attempts."""
        return [codec.loads(blob) for blob in self.redis.lrange(self.keys.attempts(run), 0, -1)]

    def running(self, count: int = 1, timeout: float = 15.0) -> None:
        """Wait until so many leases are open."""
        until(lambda: self.redis.zcard(self.keys.leases) >= count, timeout, f"{count} runs claimed\n{self.texts()}")

    # -- workers -------------------------------------------------------------------------------------------
    def start(
        self,
        executors: int | tuple[int, int] = 2,
        *,
        name: str | None = None,
        queues: tuple[str, ...] = ("default",),
        burst: bool = False,
        max_jobs: int | None = None,
        dies_at: str = "",
        max_idle: float | None = None,
        ready: bool = True,
        options: dict[str, Any] | None = None,
        prelude: str = "",
        **more: str,
    ) -> Worker:
        """A worker; returns once it is ready for runs.

        ``options``: further ones of `FleetWorker`; ``prelude``: code that runs before it; ``dies_at``: as by ``kill -9`` at this point of
        `taskq.registry.runtime.faults`.
        """
        name = name or f"w{len(self.workers)}"
        values = {"QUEUES": queues, "NAME": name, "EXECUTORS": executors, "BURST": burst, "MAX_JOBS": max_jobs}
        values |= {"MAX_IDLE": max_idle, "OPTIONS": options or {}}
        armed = f"from taskq.registry.runtime.faults import arm\narm({dies_at!r})\n" if dies_at else ""
        code = prelude + armed + "".join(f"{key} = {value!r}\n" for key, value in values.items()) + _MAIN
        log = self.folder / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen([sys.executable, "-c", code], env=environment(self.settings, **more), stdout=out, stderr=out)
        worker = Worker(process, name, log)
        self.workers.append(worker)
        if ready:
            until(lambda: self.report(name) and self.report(name).state in ("idle", "busy"), 30, f"{name} ready\n{worker.text()}")
        return worker

    def report(self, name: str) -> Any:
        """A worker's heartbeat, None without."""
        blob = self.redis.hget(self.keys.worker(name), "status")
        return WorkerReport.load(blob) if blob else None

    def load_report(self, name: str, task: str, version: int) -> Any:
        """What a worker says of a version, None without."""
        blob = self.redis.hget(self.keys.worker(name), f"load:{task}:{version}")
        return LoadReport.load(blob) if blob else None

    def texts(self) -> str:
        """What all workers wrote last."""
        return "\n".join(f"--- {worker.name}\n{worker.text()}" for worker in self.workers)

    def stop(self) -> None:
        """End all workers; none may leave a process behind."""
        children = [child for worker in self.workers for child in worker.executors()]
        for worker in self.workers:
            if worker.process.poll() is None:
                os.kill(worker.process.pid, signal.SIGCONT)
                worker.terminate()
        stuck = []
        for worker in self.workers:
            # Two signals at once may arrive as one.
            until(lambda worker=worker: worker.process.poll() is not None or "drains" in worker.text(), what=f"{worker.name} drains")
            worker.terminate()
            try:
                worker.process.wait(15)
            except subprocess.TimeoutExpired:
                stuck.append(worker.name)
                worker.kill()
        _, alive = psutil.wait_procs(children, timeout=3)
        assert not stuck, f"{stuck} did not stop\n{self.texts()}"
        assert not alive, f"left behind: {alive}"
