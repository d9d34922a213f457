"""`retry`: failed and cancelled runs are queued once more, one by one or by filter."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.command import Command
from support.hands import claim, finish, put_task
from support.waiting import until

from taskq.producer import Client
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings


@pytest.fixture(autouse=True)
def tasks(redis: Redis, keys: Keys) -> None:
    for name in ("job", "other"):
        put_task(redis, keys, name)


def failed(client: Client, redis: Redis, keys: Keys, count: int = 1, *, task: str = "job", reason: str = "error") -> list[str]:
    runs = [run.id for run in client.enqueue_many(task, [{}] * count)]
    for claimed in claim(redis, keys, count):
        finish(redis, keys, claimed, reason=reason, error="ValueError: no")
    return runs


def queued(redis: Redis, keys: Keys) -> list[str]:
    return [run.decode() for run in redis.lrange(keys.rq_queue("default"), 0, -1)]


def test_runs_are_retried_by_name(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    first, second = failed(client, redis, keys, 2)
    assert "Retried 1 run." in shell("retry", first).stderr
    assert queued(redis, keys) == [first]
    document = shell.json("retry", second)
    assert (document["run"], document["status"], document["attempt"]) == (second, "queued", 1)
    assert [item["outcome"] for item in document["attempts"]] == ["error"]


def test_what_can_not_be_retried_is_told_and_the_rest_is(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    (bad,) = failed(client, redis, keys)
    waiting = client.enqueue("job").id
    said = shell("retry", waiting, bad, "none", code=4)
    assert f"run {waiting} is queued; only a run that failed or was cancelled can be retried" in said.stderr
    assert "there is no run none" in said.stderr
    assert "Retried 1 run." in said.stderr
    assert queued(redis, keys) == [waiting, bad]
    assert "there is no run none" in shell("retry", "none", code=3).stderr
    put_task(redis, keys, "job", state="retired")
    redis.hset(keys.rq_job(bad), "status", "failed")
    assert "task job is retired" in shell("retry", bad, code=3).stderr


def test_runs_are_retried_by_filter(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    slow = failed(client, redis, keys, 2, reason="timeout")
    broken = failed(client, redis, keys, 3)
    failed(client, redis, keys, task="other")
    cancelled = client.enqueue("job")
    cancelled.cancel()

    lines = shell("retry", "--task", "job", "--reason", "timeout", "--yes", "--json").stdout.splitlines()
    assert sorted(json.loads(line)["run"] for line in lines) == sorted(slow)
    assert "Retried 2 runs." in shell("retry", "--task", "job", "--limit", "2", "--since", "1h", "--yes").stderr
    assert sorted(queued(redis, keys)) == sorted([*slow, *broken[1:]])
    assert "Retried 1 run." in shell("retry", "--status", "cancelled", "--yes").stderr
    assert queued(redis, keys)[-1] == cancelled.id
    assert "none to retry" in shell("retry", "--task", "job", "--since", "1ms", "--yes").stderr


def test_many_are_retried_in_batches(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    runs = failed(client, redis, keys, 250)
    assert "Retried 250 runs." in shell("retry", "--status", "failed", "--yes").stderr
    assert sorted(queued(redis, keys)) == sorted(runs)


def test_nobody_is_asked_where_nobody_is(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    failed(client, redis, keys)
    assert "--yes" in shell("retry", "--task", "job", code=2).stderr
    assert queued(redis, keys) == []


@pytest.mark.parametrize("words", [[], ["r1", "--task", "job"], ["--status", "succeeded"], ["--since", "soon"], ["--limit", "0"]])
def test_a_command_that_names_nothing_or_both_is_refused(shell: Any, words: list[str]) -> None:
    shell("retry", *words, code=2)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
def test_people_are_asked_and_see_how_far_it_is(
    client: Client, redis: Redis, keys: Keys, settings: Settings, tmp_path: Path, answer: str, code: int
) -> None:
    failed(client, redis, keys, 120)
    taskq = Command(settings, tmp_path)
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            taskq.argv("retry", "--task", "job"), cwd=tmp_path, env=taskq.environ, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        said = bytearray()
        until(lambda: said.extend(os.read(ours, 4096)) or b"?" in said, 20, "it asks")
        os.write(ours, answer.encode() + b"\n")
        process.wait(20)
        until(lambda: _drained(ours, said), 5, "it has said all")
    finally:
        os.close(ours)
    assert process.returncode == code
    assert b"Retry 120 failed runs? [y/N]" in said
    assert (b"100%" in said) == (answer == "y")
    assert (len(queued(redis, keys)) == 120) == (answer == "y")


def _drained(terminal: int, into: bytearray) -> bool:
    try:
        into.extend(os.read(terminal, 4096))
    except OSError:  # the other end is closed
        return True
    return False
