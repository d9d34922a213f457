"""Workers of RQ's queues under test: RQ's own and ours, each in a process forked from the test's."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
import redis as redis_py
from rq import SimpleWorker, Worker
from rq.worker import BaseWorker
from support.waiting import until

from taskq.registry.settings import Settings
from taskq.worker.foreign import RQWorker

Kind = type[BaseWorker]

FORKING = [pytest.param(Worker, id="rq"), pytest.param(RQWorker, id="ours")]
ALL = [*FORKING, pytest.param(SimpleWorker, id="simple")]


class Started:
    """A worker's process."""

    def __init__(self, pid: int, name: str, log: Path, redis: redis_py.Redis) -> None:
        self.pid, self.name, self.log, self._redis = pid, name, log, redis
        self.status: int | None = None

    def wait(self, timeout: float = 30.0) -> int:
        """Its exit code."""
        try:
            until(self._ended, timeout, f"the end of {self.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-3000:]}") from error
        assert self.status is not None
        return os.waitstatus_to_exitcode(self.status)

    def _ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def state(self) -> str:
        return (self._redis.hget(f"rq:worker:{self.name}", "state") or b"").decode()

    def field(self, name: str) -> str:
        return (self._redis.hget(f"rq:worker:{self.name}", name) or b"").decode()

    def end(self) -> None:
        """Kill it and what it started."""
        if self._ended():
            return
        below = psutil.Process(self.pid).children(recursive=True)
        self.signal(signal.SIGKILL)
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.wait()
        psutil.wait_procs(below, timeout=10)


class Workers:
    """Starts workers of one test."""

    def __init__(self, settings: Settings, redis: redis_py.Redis, folder: Path) -> None:
        self._settings, self._redis, self._folder = settings, redis, folder
        self._started: list[Started] = []

    def start(
        self,
        kind: Kind,
        *queues: str,
        made: dict[str, Any] | None = None,
        before: Callable[[], None] | None = None,
        **work: Any,
    ) -> Started:
        """A worker that works in a process of its own.

        Args:
            kind: its class. ``queues``: ``legacy`` if there are none. ``made``: arguments of its constructor.
            before: is called in its process.
            work: arguments of ``work()``.
        """
        options = {"name": f"w{len(self._started) + 1}"} | (made or {})
        log = self._folder / f"{options['name']}.log"
        log.touch()
        pid = os.fork()
        if pid == 0:
            self._be(log, before, lambda connection: kind(list(queues or ("legacy",)), connection=connection, **options).work(**work))
        started = Started(pid, options["name"], log, self._redis)
        self._started.append(started)
        return started

    def burst(self, kind: Kind, *queues: str, **options: Any) -> Started:
        """A worker that has worked until the queues were empty."""
        started = self.start(kind, *queues, burst=True, **options)
        assert started.wait() == 0, started.log.read_text()
        return started

    def idle(self, kind: Kind, *queues: str, **options: Any) -> Started:
        """A worker that waits for jobs."""
        started = self.start(kind, *queues, **options)
        until(lambda: started.state() == "idle", what=f"{started.name} idle")
        return started

    def end(self) -> None:
        for started in self._started:
            started.end()

    def _be(self, log: Path, before: Callable[[], None] | None, work: Callable[[redis_py.Redis], bool]) -> NoReturn:
        code = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1):
                signal.signal(number, signal.SIG_DFL)
            os.setpgrp()
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
            warnings.resetwarnings()
            logging.getLogger().handlers.clear()  # pytest's, which hold what is logged back
            for name in ("rq.worker", "rq.job"):  # RQ sets them up once a process, for who was first; this is another one
                logging.getLogger(name).handlers.clear()
                logging.getLogger(name).setLevel(logging.INFO)
            if before:
                before()
            work(redis_py.Redis.from_url(str(self._settings.redis_url)))
            code = 0
        except SystemExit:
            code = 7  # a cold shutdown
        except BaseException:  # noqa: BLE001  # a fork of the test must not go on as the test
            traceback.print_exc()
        finally:
            os._exit(code)
