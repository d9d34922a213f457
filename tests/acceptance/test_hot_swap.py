"""A task is changed again and again under load: nothing fails, nothing stale starts, nothing restarts."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from support.command import Command, executors_of
from support.waiting import until

from taskq import Client
from taskq.registry.settings import Settings

SECONDS, RATE, CHANGES = 30.0, 200, 20


def source(number: int) -> str:
    return f"""
from taskq import TaskContext, task

@task(timeout="20s")
def own_version(ctx: TaskContext) -> list[int]:
    return [{number}, ctx.version]
"""


class Load(threading.Thread):
    """Enqueues at a steady rate; remembers which version a run must have at least."""

    def __init__(self, settings: Settings, done: list[tuple[float, int]]) -> None:
        super().__init__()
        self.settings, self.done = settings, done
        self.runs: list[tuple[str, int]] = []

    def run(self) -> None:
        begin = time.monotonic()
        with Client(settings=self.settings) as client:
            for index in range(int(SECONDS * RATE)):
                wait = begin + index / RATE - time.monotonic()
                if wait > 0:
                    time.sleep(wait)  # paces the load; nothing is waited for
                least = max(version for _, version in tuple(self.done))
                self.runs.append((client.enqueue("own_version").id, least))


@pytest.mark.parametrize("pubsub", [True, False], ids=["pubsub", "every message dropped"])
@pytest.mark.timeout(240)
def test_twenty_versions_under_load_lose_nothing_and_start_nothing_stale(settings: Settings, tmp_path: Path, pubsub: bool) -> None:
    # Given two workers and a task that returns its own version
    settings = settings.model_copy(update={"pubsub": pubsub})
    taskq = Command(settings, tmp_path)
    file = taskq.write("own.py", source(1))
    with taskq.workers(2) as workers:
        first = taskq.json("register", str(file))
        assert first[0]["state"] == "active"
        before = [executors_of(worker) for worker in workers]
        # When it is changed twenty times under load
        done = [(time.monotonic(), 1)]
        load = Load(settings, done)
        begin = time.monotonic()
        load.start()
        for number in range(2, CHANGES + 2):
            until(lambda due=begin + (number - 1) * (SECONDS - 2) / CHANGES: time.monotonic() >= due, SECONDS)
            file.write_text(source(number))
            result = taskq.json("register", str(file))
            assert result[0]["version"] == number
            assert result[0]["state"] == "active"
            done.append((time.monotonic(), number))
        load.join()
        # Then each run succeeded on the version that it says, none older than what was registered before its enqueue
        with Client(settings=settings) as client:
            for run_id, least in load.runs:
                run = client.run(run_id)
                code, version = run.wait(30)
                assert run.refresh().status == "succeeded"
                assert code == version == run.version
                assert version >= least, f"{run_id} ran version {version} after {least} had been registered"
        # And no process was restarted
        for worker, pids in zip(workers, before, strict=True):
            assert worker.poll() is None
            assert pids <= executors_of(worker)
        assert len(load.runs) == SECONDS * RATE
