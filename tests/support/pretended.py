"""A worker that only pretends: it follows the registry and reports, so that rollouts can be tested without executors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from redis import Redis

from taskq.registry.connect import connect
from taskq.registry.effects import run_sync
from taskq.registry.feed.feed import read_changes
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.model.worker import STATUS_FIELD, LoadReport, WorkerReport, load_field
from taskq.registry.settings import Settings

# (task, version) → None if it loads, the error if it does not, "…" if it never ends.
Loads = Callable[[str, int], str | None]
NEVER = "…"


class PretendedWorker:
    """A thread that heartbeats, applies each change and reports what ``loads`` says.

    ``log`` holds (task, stable, staged) of each change as it was seen.
    """

    def __init__(
        self, settings: Settings, keys: Keys, name: str = "w0", *, queues: tuple[str, ...] = ("default",), loads: Loads = lambda *_: None
    ) -> None:
        self.settings, self.keys, self.name, self.queues, self.loads = settings, keys, name, queues, loads
        self.log: list[tuple[str, int | None, int | None]] = []
        self.snapshot = Snapshot()
        self._applied = 0
        self._stop = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with connect(self.settings) as redis:
            while not self._stop.is_set():
                changed = run_sync(read_changes(self.keys, self.snapshot), redis)
                done = [self._apply(redis, task) for task in sorted(changed)]
                if all(done):
                    self._applied = self.snapshot.revision
                self._beat(redis)
                self._started.set()
                self._stop.wait(0.01)
            redis.zrem(self.keys.workers, self.name)

    def _apply(self, redis: Redis, task: str) -> bool:
        record = self.snapshot.tasks.get(task)
        if record is None:
            return True
        self.log.append((task, record.route.stable, record.route.staged))
        done = True
        for version in {record.route.stable, record.route.staged} - {None}:
            error = self.loads(task, version or 0)
            if error == NEVER:
                done = False
                continue
            report = LoadReport(task=task, version=version or 0, state="failed" if error else "ready", error=error, load_ms=1.0)
            redis.hset(self.keys.worker(self.name), load_field(task, version or 0), report.dump())
        return done

    def _beat(self, redis: Redis) -> None:
        seconds, micros = redis.time()
        now = seconds + micros / 1e6
        report = WorkerReport(worker=self.name, state="idle", queues=self.queues, revision=self._applied, executors=1, heartbeat=now)
        redis.hset(self.keys.worker(self.name), STATUS_FIELD, report.dump())
        redis.expire(self.keys.worker(self.name), 60)
        redis.zadd(self.keys.workers, {self.name: now})
