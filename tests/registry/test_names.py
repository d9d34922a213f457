"""F27: one grammar for names, asked wherever a name comes in; none that it refuses reaches a key or a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from taskq.producer import Client
from taskq.registry import Registry, names
from taskq.registry.authoring.task import task
from taskq.registry.effects import run_sync
from taskq.registry.errors import InvalidInput, TaskqError
from taskq.registry.keys import Keys
from taskq.registry.runs.cancellation import cancel_run
from taskq.registry.runs.document import read_run
from taskq.registry.runs.logs import last_logs, read_logs
from taskq.registry.settings import Settings
from taskq.worker import FleetWorker

BAD = {
    "empty": "",
    "256 characters": "x" * 256,
    "NUL": "a\0b",
    "newline": "a\nb",
    "newline at the end": "a\n",
    "parent folder": "../..",
    "path": "a/b",
    "colon": "a:b",
    "braces": "{x}",
    "look-alike": "pаy",  # the second letter is Cyrillic
    "full width": "ａ",  # that it looks like an a is the point
    "digit of another script": "a١",
    "star": "a*",
    "question mark": "a?",
    "brackets": "[a]",
    "space": "a b",
    "tab": "a\tb",
    "hyphen first": "-a",
    "lone surrogate": "a\ud800",
    "control of direction": "a\u202eb",
}
each_bad = pytest.mark.parametrize("bad", BAD.values(), ids=BAD)


@each_bad
@pytest.mark.parametrize("kind", ["task", "queue", "namespace", "origin", "worker", "scheduler"])
def test_f27_a_bad_name_is_refused_by_the_one_grammar(kind: str, bad: str) -> None:
    with pytest.raises(InvalidInput, match=f"{kind} .* is not a valid name: allowed are") as caught:
        names.check(kind, bad)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 250


@pytest.mark.parametrize("bad", [bad for bad in BAD.values() if bad != "-a"])
def test_f27_a_bad_id_of_a_run_is_refused(bad: str) -> None:
    with pytest.raises(InvalidInput, match=r"run .* is not a valid name"):
        names.check("run", bad)


@pytest.mark.parametrize("bad", [None, 7, b"a", ["a"]])
def test_f27_what_is_no_text_is_no_name(bad: Any) -> None:
    with pytest.raises(InvalidInput, match="is not a valid name"):
        names.check("task", bad)


def keys_of(redis: Redis) -> set[bytes]:
    return set(redis.keys("*"))  # type: ignore[arg-type]  # this client does not decode


@each_bad
def test_f27_no_way_in_lets_a_bad_name_reach_a_key(redis: Redis, keys: Keys, settings: Settings, bad: str) -> None:
    registry, client = Registry(redis, settings=settings), Client(redis, settings=settings)
    calls: list[Callable[[], object]] = [
        lambda: client.enqueue(bad),
        lambda: client.runs(bad),
        lambda: client.run(bad if bad != "-a" else "a/b"),
        lambda: registry.show(bad),
        lambda: registry.history(bad),
        lambda: registry.pause(bad),
        lambda: registry.promote(bad, 1),
        lambda: registry.retire(bad),
        lambda: run_sync(read_run(keys, bad or "a:b"), redis) if bad != "-a" else names.check("task", bad),
        lambda: run_sync(read_logs(keys, bad if bad != "-a" else "a:b"), redis),
        lambda: run_sync(last_logs(keys, bad if bad != "-a" else "a:b", 1), redis),
        lambda: run_sync(cancel_run(keys, settings, bad if bad != "-a" else "a:b"), redis),
        lambda: FleetWorker([bad], settings=settings),
        lambda: FleetWorker(["default"], settings=settings, name=bad or "a:b"),
        lambda: Settings.load({}, namespace=bad),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(InvalidInput):
            print(number, call())
    client.close()
    assert keys_of(redis) == set()


@pytest.mark.parametrize("bad", [BAD[kind] for kind in ("NUL", "parent folder", "braces", "look-alike", "star")])
def test_f27_a_task_of_a_bad_name_or_queue_is_not_registered(redis: Redis, settings: Settings, tmp_path: Path, bad: str) -> None:
    registry = Registry(redis, settings=settings)
    for option in ("name", "queue"):
        file = tmp_path / "tasks.py"
        file.write_text(f"from taskq.registry import task\n@task({option}={bad!a})\ndef job(): pass\n")
        with pytest.raises(TaskqError, match="is not a valid name"):
            registry.register([file])
    assert keys_of(redis) == set()


@each_bad
def test_f27_a_decorated_function_of_a_bad_name_is_refused_by_a_client(redis: Redis, settings: Settings, bad: str) -> None:
    @task(name=bad or "A")
    def job() -> None: ...

    with Client(redis, settings=settings) as client, pytest.raises(InvalidInput, match=r"task .* is not a valid name"):
        client.enqueue(job)
    assert keys_of(redis) == set()
