"""What a run leaves behind is the same, whether a worker executed it or the kit: compared field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from support.fleet import Fleet as Workers
from support.waiting import until

from taskq import Client, Registry, RunFailed, Settings
from taskq.registry.keys import Keys
from taskq.registry.runs.statuses import TERMINAL
from taskq.testing import Fleet
from taskq.testing import worker as inline

SOURCE = """
import asyncio
import logging
import os
import sys
import time
from datetime import date

from taskq import Task, TaskContext, task


@task(labels={"a": "b"}, result_ttl="2h")
def fine(ctx: TaskContext, number: int = 3) -> dict:
    print("printed", end="")
    print(" and ended")
    print("to the other one", file=sys.stderr)
    ctx.log.warning("attempt %d", ctx.attempt)
    logging.getLogger("mine").info("a record")
    logging.getLogger("mine").debug("not kept")
    print("no end of line", end="")
    return {"number": number, "bytes": b"\\x00\\xff", "none": None}


@task(failure_ttl="3h")
def broken() -> None:
    try:
        {}["no"]
    except KeyError as error:
        raise RuntimeError("broken on purpose") from error


@task
async def later(day: date) -> str:
    await asyncio.sleep(0)
    return day.isoformat()


@task
async def broken_later() -> None:
    await asyncio.sleep(0)
    raise ValueError("broken after a while")


@task(timeout="300ms")
def hang() -> None:
    time.sleep(60)


@task(timeout="300ms")
async def hang_later() -> None:
    await asyncio.sleep(60)


@task
def odd() -> object:
    return object()


@task
def leave() -> None:
    sys.exit("enough")


class Counted(Task):
    def execute(self, by: int = 1) -> int:
        return by


@task
def lost() -> int:
    marker = os.environ.get("TMPDIR", "/tmp") + "/lost-once"
    if not os.path.exists(marker):
        open(marker, "w").close()
        os._exit(1)
    return 7
"""
RUNS: list[tuple[str, dict[str, Any]]] = [
    ("fine", {}),
    ("fine", {"number": 5}),
    ("broken", {}),
    ("later", {"day": "2026-11-22"}),
    ("broken_later", {}),
    ("hang", {}),
    ("hang_later", {}),
    ("odd", {}),
    ("leave", {}),
    ("counted", {"by": 2}),
]
# What differs: the run's id, the worker's name and token, and when it was.
NAMED = re.compile(r"[0-9a-f]{24}|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)")


def normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "…" if name in ("worker", "worker_name", "token", "id", "at", "execution_id") else normal(part)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [normal(part) for part in value]
    if isinstance(value, str):
        return NAMED.sub("…", value)
    return value


def left(redis: redis_py.Redis, keys: Keys, client: Client, run: str) -> dict[str, Any]:
    """All that there is of a run: document, log, job hash, result, TTLs, registries."""
    found = client.run(run)
    job = {name.decode(): value for name, value in redis.hgetall(keys.rq_job(run)).items()}  # type: ignore[union-attr]  # no awaitable
    ((_, result),) = redis.xrevrange(keys.rq_results(run), count=1)
    ttls = {name: -(-redis.ttl(name) // 60) for name in (keys.rq_job(run), keys.rq_results(run), keys.logs(run))}
    return {
        "document": normal(dict(found.document)),
        "logs": normal(found.logs()),
        "job": {name: normal(value.decode(errors="replace")) for name, value in job.items() if name not in ("token", "worker_name")},
        "result": {name: value for name, value in result.items() if name in (b"type", b"return_value", b"exc_string")},
        "ttls": {name.replace(run, "…"): minutes for name, minutes in ttls.items()},
        "registries": [kind for kind in ("wip", "finished", "failed") if redis.zscore(keys.rq_registry(kind, "default"), run) is not None],
        "left": sorted(normal(name.decode()) for name in redis.scan_iter(f"*{run}*")),
    }


@pytest.fixture
def workers(settings: Settings, redis: redis_py.Redis, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(settings, redis, tmp_path)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    # A name of its own: a file of another text that this process has loaded under the same one is told apart in tracebacks.
    path = tmp_path / f"{tmp_path.name}.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.process
def test_a_run_leaves_behind_what_a_worker_leaves(
    workers: Workers, settings: Settings, redis: redis_py.Redis, keys: Keys, file: Path
) -> None:
    Registry(redis, settings=settings).register(file)
    workers.start()
    with Client(redis, settings=settings) as client:
        ids = [client.enqueue(task, **params).id for task, params in RUNS]
        until(lambda: all(client.run(run).status in TERMINAL for run in ids), 30, "all runs ended")
        by_worker = [left(redis, keys, client, run) for run in ids]
    with Fleet() as fleet:
        fleet.register(file)
        inline_ids = [fleet.attempt(task, **params).id for task, params in RUNS]
        by_kit = [left(fleet.redis, Keys(), fleet.client, run) for run in inline_ids]
    for (task, _), worker, kit in zip(RUNS, by_worker, by_kit, strict=True):
        assert kit == worker, task


@pytest.mark.process
def test_a_lost_run_goes_the_same_way(workers: Workers, settings: Settings, redis: redis_py.Redis, file: Path, tmp_path: Path) -> None:
    Registry(redis, settings=settings).register(file)
    workers.start(TMPDIR=str(tmp_path))
    with Client(redis, settings=settings) as client:
        run = client.enqueue("lost")
        assert run.wait(20) == 7
        by_worker = normal(dict(run.document))
    with Fleet() as fleet:
        fleet.register(file)
        fleet.lose("counted")
        by_kit = normal(dict(fleet.run("counted", by=7).document))
    # An executor that dies is not a worker that is lost; all else is the same.
    assert [attempt.pop("outcome") for attempt in by_worker["attempts"]] == ["executor_died", "succeeded"]
    assert [attempt.pop("outcome") for attempt in by_kit["attempts"]] == ["worker_lost", "succeeded"]
    assert by_worker["attempts"][0].pop("error") == "exit code 1"
    assert by_kit["attempts"][0].pop("error") == f"worker {inline.NAME}"
    assert by_kit | {"task": "lost"} == by_worker


@pytest.mark.process
def test_a_failed_run_that_is_waited_for_raises_the_same(workers: Workers, settings: Settings, redis: redis_py.Redis, file: Path) -> None:
    Registry(redis, settings=settings).register(file)
    workers.start()
    with Client(redis, settings=settings) as client, pytest.raises(RunFailed) as real:
        client.enqueue("broken").wait(20)
    with Fleet() as fleet:
        fleet.register(file)
        with pytest.raises(RunFailed) as faked:
            Client().enqueue("broken").wait(20)
    assert NAMED.sub("…", str(faked.value)) == NAMED.sub("…", str(real.value))
    assert (faked.value.reason, faked.value.status) == (real.value.reason, real.value.status)
