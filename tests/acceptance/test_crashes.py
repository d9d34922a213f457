"""Workers and Redis are killed with runs in flight: nothing is lost, nothing is recorded twice."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
from support.command import Command, executors_of
from support.waiting import until

from taskq import Client
from taskq.registry.settings import Settings

LEDGER = """
import os, time
from taskq import TaskContext, task

@task(timeout="90s")
def ledger(ctx: TaskContext, path: str, seconds: float = 0.0, stuck: bool = False) -> int:
    with open(path, "a") as file:
        file.write(f"start {ctx.run}\\n")
    time.sleep(60 if stuck and ctx.attempt == 1 else seconds)
    with open(path, "a") as file:
        file.write(f"end {ctx.run}\\n")
    return ctx.attempt
"""


def count(path: Path, word: str) -> Counter[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(line.split()[1] for line in lines if line.startswith(word + " "))


def test_a_killed_worker_loses_none_of_its_eight_runs(settings: Settings, taskq: Command, tmp_path: Path) -> None:
    # Given eight runs in flight on one worker
    book = tmp_path / "ledger"
    taskq("register", str(taskq.write("ledger.py", LEDGER)))
    with taskq.workers(1, executors=8) as (first,), Client(settings=settings) as client:
        runs = client.enqueue_many("ledger", [{"path": str(book), "stuck": True}] * 8)
        until(lambda: len(count(book, "start")) == 8, 20)
        second = taskq.start("worker", "--executors", "8", "--name", "second")
        try:
            until(lambda: len(taskq.live()) == 2, 20)
            orphans = executors_of(first)
            # When it is killed
            first.kill()
            first.wait()
            # Then its executors are gone with it, and each run ends once
            until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans), 5)
            for run in runs:
                assert run.wait(10) == 2
                attempts = run.refresh().attempts
                assert [item["outcome"] for item in attempts] == ["worker_lost", "succeeded"]
            assert set(count(book, "end").values()) == {1}
            assert set(count(book, "start").values()) == {2}
        finally:
            second.send_signal(signal.SIGTERM)
            assert second.wait(15) == 0


@pytest.mark.timeout(180)
def test_a_killed_redis_loses_no_acknowledged_run(own_server, settings: Settings, tmp_path: Path) -> None:
    # Given two workers under load, on a server with an append-only file that is always synced
    settings = settings.model_copy(update={"redis_url": own_server.url})
    taskq = Command(settings, tmp_path)
    book = tmp_path / "ledger"
    taskq("register", str(taskq.write("ledger.py", LEDGER)))
    with taskq.workers(2) as workers:
        before = [executors_of(worker) for worker in workers]
        acknowledged: list[str] = []
        for _ in range(3):
            with Client(settings=settings) as client:
                acknowledged += [client.enqueue("ledger", path=str(book), seconds=0.02).id for _ in range(150)]
            # When it is killed and comes back
            begun = len(acknowledged) // 3
            until(lambda begun=begun: len(count(book, "start")) > begun, 20)
            own_server.kill()
            own_server.start()
        # Then each acknowledged run ends, and is recorded once
        with Client(settings=settings) as client:
            for run_id in acknowledged:
                client.run(run_id).wait(40)
        ended = count(book, "end")
        assert set(ended) >= set(acknowledged)
        assert sum(ended.values()) == len(acknowledged), [item for item in ended.items() if item[1] > 1]
        # And no other process died
        for worker, pids in zip(workers, before, strict=True):
            assert worker.poll() is None
            assert pids <= executors_of(worker)
