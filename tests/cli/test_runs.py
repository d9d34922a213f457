"""`runs`, `status`, `logs`, `cancel`, `queues`, `workers`, `events` and completion of names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis
from support.hands import claim, finish, put_task

from taskq.producer import Client
from taskq.registry import clock
from taskq.registry.keys import Keys
from taskq.registry.model.event import run_event
from taskq.registry.model.spec import Spec
from taskq.registry.model.worker import WorkerReport


@pytest.fixture(autouse=True)
def job(redis: Redis, keys: Keys) -> None:
    put_task(redis, keys, "job")


def report(redis: Redis, keys: Keys, name: str, *queues: str) -> None:
    made = WorkerReport(worker=name, host="h", pid=1, state="idle", revision=1, queues=queues, executors=2, heartbeat=clock.now())
    redis.hset(keys.worker(name), "status", made.dump())
    redis.zadd(keys.workers, {name: clock.now()})


def test_runs_are_listed_newest_first_by_task_and_status(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    first, second = client.enqueue("job"), client.enqueue("job")
    finish(redis, keys, claim(redis, keys)[0], reason="error", error="ValueError: boo", traceback="…\nValueError: boo")
    assert [row["run"] for row in shell.json("runs")] == [second.id, first.id]
    assert [row["run"] for row in shell.json("runs", "--status", "failed", "--task", "job")] == [first.id]
    lines = shell("runs").stdout.splitlines()
    assert lines[0].split() == ["RUN", "TASK", "V", "STATUS", "TRY", "QUEUED", "TOOK", "ERROR"]
    assert second.id in lines[1]
    assert "ValueError: boo" in lines[2]


def test_people_see_200_rows_unless_they_ask_for_all(shell: Any, client: Client) -> None:
    client.enqueue_many("job", [{}] * 205)
    shown = shell("runs")
    assert len(shown.stdout.splitlines()) == 201
    assert "--all" in shown.stderr
    assert len(shell("runs", "--all").stdout.splitlines()) == 206
    assert len(shell.json("runs")) == 205


def test_status_shows_attempts_and_the_traceback(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    run = client.enqueue("job")
    finish(redis, keys, claim(redis, keys)[0], reason="error", error="ValueError: boo", traceback="Traceback …\n\x1b[31mValueError: boo")
    document = shell.json("status", run.id)
    assert (document["status"], document["reason"], document["attempt"]) == ("failed", "error", 1)
    assert document["attempts"][0]["outcome"] == "error"
    text = shell("status", run.id).stdout
    assert "TRY" in text
    assert "Traceback" in text
    assert "\x1b" not in text


def test_logs_are_printed_and_followed_to_the_end(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    run = client.enqueue("job")
    assert "nothing; it is queued" in shell("logs", run.id).stderr
    (claimed,) = claim(redis, keys)
    for number in range(3):
        redis.xadd(keys.logs(run.id), {"at": "1795370400.5", "level": "INFO", "text": f"line {number}\x1b"})
    finish(redis, keys, claimed, 1)
    assert [line.split()[-1] for line in shell("logs", run.id).stdout.splitlines()] == ["0\\x1b", "1\\x1b", "2\\x1b"]
    lines = [json.loads(line) for line in shell("logs", "-f", run.id, "--json").stdout.splitlines()]
    assert [line["text"] for line in lines] == ["line 0\x1b", "line 1\x1b", "line 2\x1b"]
    assert lines[0]["at"].endswith("+00:00")


def test_a_queued_run_is_cancelled_and_another_one_is_a_conflict(shell: Any, client: Client) -> None:
    run = client.enqueue("job")
    assert "Cancelled 1 run." in shell("cancel", run.id).stderr
    assert run.refresh().status == "cancelled"
    assert "has ended" in shell("cancel", run.id, code=4).stderr


def test_queues_count_and_say_where_no_worker_is(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    put_task(redis, keys, "mail", spec=Spec(queue="mail"))
    report(redis, keys, "w1", "default")
    for task in ("job", "job", "mail"):
        client.enqueue(task)
    claim(redis, keys)
    rows = shell.json("queues")
    assert rows == [
        {"queue": "default", "queued": 1, "scheduled": 0, "running": 1, "parked": 0, "tasks": 1, "workers": ["w1"]},
        {"queue": "mail", "queued": 1, "scheduled": 0, "running": 0, "parked": 0, "tasks": 1, "workers": []},
    ]
    assert "taskq worker --queues mail" in shell("queues").stderr


def test_events_are_cloud_events_one_a_line(shell: Any, redis: Redis, keys: Keys) -> None:
    for number in range(3):
        body = run_event("succeeded", namespace="taskq", task="job", run=f"r{number}", version=1)
        redis.xadd(keys.events, {"event": body})
    redis.xadd(keys.events, {"event": "{garbage"})
    events = [json.loads(line) for line in shell("events", "--last", "3", "--no-follow", "--json").stdout.splitlines()]
    assert [event["type"] for event in events] == ["taskq.run.succeeded", "taskq.run.succeeded", "taskq.unreadable"]
    assert events[0]["data"]["run"] == "r1"
    assert all("id" in event for event in events)
    assert "run.succeeded" in shell("events", "--last", "3", "--no-follow").stdout


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: Any, kind: str) -> None:
    script = shell("completion", kind).stdout
    assert f"_TASKQ_COMPLETE={kind}_complete" in script


def test_names_of_tasks_and_runs_are_completed_from_the_server(shell: Any, client: Client) -> None:
    run = client.enqueue("job")
    assert complete(shell, "taskq run jo") == ["job"]
    assert complete(shell, "taskq pause ") == ["job"]
    assert complete(shell, f"taskq status {run.id[:4]}") == [run.id]
    assert "register" in complete(shell, "taskq re")
    shell.environ["TASKQ_REDIS_URL"] = "redis://127.0.0.1:1"
    assert complete(shell, "taskq run jo") == []


def complete(shell: Any, line: str) -> list[str]:
    *words, incomplete = line.split(" ")
    words = [*words, incomplete]
    shell.environ |= {"_TASKQ_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    try:
        return [item.partition(",")[2] for item in shell().stdout.splitlines() if item]
    finally:
        del shell.environ["_TASKQ_COMPLETE"]


def test_runs_are_cancelled_by_filter(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    put_task(redis, keys, "mail")
    runs = [client.enqueue("job") for _ in range(3)]
    other = client.enqueue("mail")
    assert "--yes" in shell("cancel", "--task", "job", code=2).stderr
    assert "one of both" in shell("cancel", code=2).stderr
    assert "one of both" in shell("cancel", runs[0].id, "--task", "job", code=2).stderr
    assert "Cancelled 3 runs." in shell("cancel", "--task", "job", "--status", "queued", "--reason", "no more", "--yes").stderr
    assert {(run.refresh().status, run.reason) for run in runs} == {("cancelled", "no more")}
    assert other.refresh().status == "queued"
    assert "none to cancel" in shell("cancel", "--task", "job", "--yes").stderr


def test_a_run_that_its_worker_does_not_stop_is_said_to_be_asked(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    run = client.enqueue("job")
    claim(redis, keys)
    told = shell("cancel", run.id, "--timeout", "200ms", code=1).stderr
    assert "has not confirmed it" in told
    assert "the request stands" in told
    assert "Asked for the end of 1 run." in shell("cancel", run.id, "--no-wait").stderr
    missing = shell("cancel", run.id, "nothing", "--no-wait", code=3).stderr
    assert "there is no run nothing" in missing
    assert run.refresh().status == "running"
