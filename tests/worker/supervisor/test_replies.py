"""Replies that never arrive: each call may have been made, or not, and is made again."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.fleet import Fleet
from support.proxy import Proxy
from support.waiting import until

from taskq.registry import scripts

FREE = {"parameters": {"json_schema": {"type": "object"}, "context": "ctx"}}
HEAD = "import time\nfrom taskq.registry import Retry, TaskContext, task\n"
NOTE = HEAD + (
    "@task\ndef note(ctx: TaskContext, path: str, seconds: float = 0.0):\n"
    "    open(path, 'a').write(ctx.run + '\\n')\n    time.sleep(seconds)\n    return 1\n"
)
TWICE = HEAD + (
    "@task\ndef twice(ctx: TaskContext, path: str):\n"
    "    open(path, 'a').write(ctx.run + '\\n')\n    if ctx.attempt == 1:\n        raise ValueError('once more')\n    return 1\n"
)


def many_ended(fleet: Fleet, count: int) -> bool:
    return fleet.redis.zcard(fleet.keys.rq_registry("finished", "default")) >= count


@pytest.fixture
def proxy(fleet: Fleet, shared_server: Any) -> Iterator[Proxy]:
    with tempfile.TemporaryDirectory(prefix="tq") as folder:
        made = Proxy(Path(folder) / "s", shared_server.socket)
        for name in ("claim", "cycle", "finish", "release", "renew", "log"):
            fleet.redis.script_load(scripts.load(name).text)
        try:
            yield made
        finally:
            fleet.stop()
            made.close()


@pytest.mark.parametrize("script", ["claim", "cycle", "finish"])
@pytest.mark.parametrize("seconds", [0.0, 0.03])
def test_a_lost_reply_costs_no_run_and_starts_none_twice(fleet: Fleet, proxy: Proxy, tmp_path: Path, script: str, seconds: float) -> None:
    fleet.put("note", NOTE, **FREE)
    worker = fleet.start(2, TASKQ_REDIS_URL=proxy.url)
    path = tmp_path / "ledger"
    for losses in range(1, 4):
        proxy.lose(scripts.load(script).sha)
        runs = fleet.enqueue("note", 60 if seconds else 300, path=str(path), seconds=seconds)
        for run in runs:
            assert fleet.ended(run, 20) == "finished"
            assert fleet.redis.xlen(fleet.keys.rq_results(run)) == 1
            assert (fleet.field(run, "attempt"), fleet.attempts(run)) == ("1", [])
        if proxy.lost < losses:
            break
    assert proxy.lost
    assert set(Counter(path.read_text().split()).values()) == {1}
    until(lambda: not fleet.redis.zcard(fleet.keys.leases), what="no lease is left")
    assert worker.process.poll() is None and "Traceback" not in worker.text()


def test_a_lost_reply_to_what_gives_runs_back_counts_no_retry_twice(fleet: Fleet, proxy: Proxy, tmp_path: Path) -> None:
    fleet.put("twice", TWICE, retry={"max": 1, "delay": 0.1}, **FREE)
    fleet.start(2, TASKQ_REDIS_URL=proxy.url)
    path = tmp_path / "ledger"
    proxy.lose(scripts.load("release").sha, 3)
    runs = fleet.enqueue("twice", 30, path=str(path))

    for run in runs:
        assert fleet.ended(run, 20) == "finished"
        assert (fleet.field(run, "attempt"), fleet.field(run, "retries")) == ("2", "1")
        assert [attempt["outcome"] for attempt in fleet.attempts(run)] == ["error"]
    assert proxy.lost
    assert set(Counter(path.read_text().split()).values()) == {2}


def test_a_lost_reply_to_a_renewal_loses_no_lease(fleet: Fleet, proxy: Proxy, tmp_path: Path) -> None:
    fleet.put("note", NOTE, **FREE)
    fleet.start(2, TASKQ_REDIS_URL=proxy.url)
    path = tmp_path / "ledger"
    proxy.lose(scripts.load("renew").sha, 3)
    runs = fleet.enqueue("note", 2, path=str(path), seconds=6.0)

    for run in runs:
        assert fleet.ended(run, 30) == "finished"
        assert fleet.field(run, "attempt") == "1"
    assert proxy.lost == 3


def test_connections_that_are_cut_at_any_moment_cost_nothing(fleet: Fleet, proxy: Proxy, tmp_path: Path) -> None:
    fleet.put("note", NOTE, **FREE)
    worker = fleet.start(2, TASKQ_REDIS_URL=proxy.url)
    path = tmp_path / "ledger"
    runs = fleet.enqueue("note", 1500, path=str(path), seconds=0.002)
    for ended in (100, 400, 800):
        until(partial(many_ended, fleet, ended), 30, "it goes on")
        proxy.cut()

    for run in runs:
        assert fleet.ended(run, 30) == "finished"
        assert fleet.redis.xlen(fleet.keys.rq_results(run)) == 1
    assert set(Counter(path.read_text().split()).values()) == {1}
    assert {fleet.field(run, "attempt") for run in runs} == {"1"}
    assert worker.process.poll() is None and "Traceback" not in worker.text()
