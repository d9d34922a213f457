"""`run --at` and `--in`, and what `runs`, `status`, `queues` and `cancel` show of runs that are due later."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from redis import Redis
from support import hands, later
from support.waiting import until

from taskq.cli.words import local
from taskq.producer import Client
from taskq.registry import clock
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec


@pytest.fixture(autouse=True)
def job(redis: Redis, keys: Keys) -> None:
    hands.put_task(redis, keys, "job")


def tomorrow(redis: Redis) -> str:
    return str(clock.iso(redis.time()[0] + 86_400.0))


def test_a_run_at_a_time_is_printed_with_its_id_and_the_time(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    later.lead(redis, keys)
    result = shell("run", "job", "--at", tomorrow(redis))
    run = client.run(result.stdout.strip())
    assert (run.status, run.due_at is not None) == ("scheduled", True)
    assert f"Due {local(run.due_at)} (in " in result.stderr
    assert f"taskq cancel {run.id}" in result.stderr
    assert "scheduler" not in result.stderr


@pytest.mark.parametrize(("words", "seconds"), [(["--in", "90s"], 90), (["--in", "1h30m"], 5400), (["--in", "60"], 60)])
def test_a_run_after_a_time(shell: Any, client: Client, words: list[str], seconds: int) -> None:
    before = clock.now()
    document = shell.json("run", "job", *words)
    assert set(document) == {"run", "task", "version", "status", "deduplicated"}
    assert document["status"] == "scheduled"
    assert client.run(document["run"]).due_at >= clock.iso(before + seconds)


def test_it_is_said_where_no_scheduler_is_alive(shell: Any, redis: Redis, keys: Keys) -> None:
    assert "`taskq scheduler`, or `taskq up`" in shell("run", "job", "--in", "1h").stderr
    told = shell("run", "job", "--in", "1h", "--json")
    assert json.loads(told.stdout)["status"] == "scheduled"
    assert "No scheduler is alive" in told.stderr
    assert "scheduler" not in shell("run", "job", "--at", "2020-01-01T00:00Z").stderr
    assert "scheduler" not in shell("run", "job").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--at", "2026-12-01T09:00"],
            "--at='2026-12-01T09:00' has no time zone, so it names no moment: write 2026-12-01T09:00:00Z for UTC",
        ),
        (["--at", "tomorrow"], "--at='tomorrow' is not an ISO 8601 time"),
        (["--at", ""], "--at='' is not an ISO 8601 time"),
        (["--at", "2126-12-01T09:00Z"], "more than ten years ahead"),
        (["--in", "soon"], "--in: 'soon' is not a duration"),
        (["--in", "-5"], "--in: '-5' is not a duration"),
        (["--in", "1795370400"], "a number without a unit is seconds"),
        (["--in", "5s", "--at", "2026-12-01T09:00Z"], "give one of the two"),
    ],
)
def test_what_is_no_time_is_exit_2_and_nothing_is_enqueued(shell: Any, redis: Redis, words: list[str], said: str) -> None:
    assert said in shell("run", "job", *words, code=2).stderr
    assert redis.keys("rq:*") == []


def test_waiting_includes_the_time_until_it_is_due(shell: Any, redis: Redis, keys: Keys) -> None:
    def work() -> None:
        (run,) = until(lambda: redis.zrange(keys.scheduler_runs, 0, -1), 20)
        later.come_due(redis, keys, run.decode())
        later.move(redis, keys)
        hands.finish(redis, keys, hands.claim(redis, keys)[0], {"sum": 5})

    thread = threading.Thread(target=work)
    thread.start()
    result = shell("run", "job", "--in", "1h", "--wait", "--timeout", "20s")
    thread.join()
    assert json.loads(result.stdout) == {"sum": 5}
    assert ", due " in result.stderr


def test_the_time_of_a_wait_counts_from_now(shell: Any) -> None:
    assert "it is scheduled" in shell("run", "job", "--in", "1h", "--wait", "--timeout", "50ms", code=1).stderr


def test_runs_lists_those_that_are_due_first(shell: Any, client: Client) -> None:
    runs = [client.options(in_=f"{minutes}m").enqueue("job") for minutes in (30, 10, 20)]
    client.enqueue("job")
    rows = shell.json("runs", "--status", "scheduled")
    assert [row["run"] for row in rows] == [runs[1].id, runs[2].id, runs[0].id]
    assert [row["due_at"] for row in rows] == [runs[1].due_at, runs[2].due_at, runs[0].due_at]
    first = shell("runs", "--status", "scheduled").stdout.splitlines()[1]
    assert first.split()[:3] == [runs[1].id, "job", "-"]
    assert "in 10 m" in first or "in 9 m" in first  # as the machine is busy


def test_status_shows_when_it_is_due_and_later_that_it_was(shell: Any, client: Client, redis: Redis, keys: Keys) -> None:
    run = client.options(in_="2h").enqueue("job")
    assert shell.json("status", run.id)["due_at"] == run.due_at
    line = next(line for line in shell("status", run.id).stdout.splitlines() if line.startswith("due"))
    assert line.split(maxsplit=1)[1].strip() in [f"{local(run.due_at)} (in {hours} h)" for hours in (1, 2)]
    later.come_due(redis, keys, run.id)
    later.move(redis, keys)
    line = next(line for line in shell("status", run.id).stdout.splitlines() if line.startswith("due"))
    assert line.split(maxsplit=1)[1].strip() == local(run.due_at)
    assert not any(line.startswith("due") for line in shell("status", client.enqueue("job").id).stdout.splitlines())


def test_queues_count_what_is_due_later_and_say_where_no_worker_is(shell: Any, client: Client) -> None:
    client.options(in_="1h").enqueue_many("job", [{}, {}])
    (row,) = shell.json("queues")
    assert (row["queue"], row["queued"], row["scheduled"]) == ("default", 0, 2)
    shown = shell("queues")
    assert shown.stdout.splitlines()[0].split() == ["QUEUE", "QUEUED", "SCHEDULED", "RUNNING", "PARKED", "TASKS", "WORKERS"]
    assert "No worker serves default" in shown.stderr


def test_doctor_names_a_queue_that_its_tasks_have_left_but_not_their_later_runs(
    shell: Any, client: Client, redis: Redis, keys: Keys
) -> None:
    hands.put_task(redis, keys, "job", spec=Spec(queue="mail"))
    run = client.options(in_="1h").enqueue("job")
    hands.put_task(redis, keys, "job", version=2)
    detail = {check["name"]: check["detail"] for check in shell.json("doctor", code=1)["checks"]}
    assert "mail" in detail["queues"]
    run.cancel()
    detail = {check["name"]: check["detail"] for check in shell.json("doctor", code=1)["checks"]}
    assert "mail" not in detail["queues"]


def test_a_later_run_is_cancelled(shell: Any, client: Client) -> None:
    run = client.options(in_="1h").enqueue("job")
    assert "Cancelled 1 run." in shell("cancel", run.id).stderr
    assert run.refresh().status == "cancelled"
    assert shell.json("queues")[0]["scheduled"] == 0


def test_help_shows_both_ways(shell: Any) -> None:
    shown = shell("run", "--help").stdout
    assert "--in 1h30m" in shown
    assert "--at 2026-12-01T09:00+01:00" in shown
