"""Failed attempts are followed by others, on real workers."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq.registry import ScheduledJobRegistry
from support.fleet import Fleet
from support.waiting import until

from taskq.producer import Client
from taskq.registry.effects import run_sync
from taskq.registry.errors import RunFailed
from taskq.registry.runs.index import list_runs
from taskq.registry.runs.logs import read_logs

HEAD = "import os, signal, sys, time\nfrom taskq.registry import TaskContext, task\n"
CONTEXT = {"parameters": {"json_schema": {"type": "object"}, "context": "ctx"}}
SOON = {"max": 3, "delay": 0.05, "jitter": 0}


@pytest.fixture
def client(fleet: Fleet) -> Iterator[Client]:
    with Client(fleet.redis, settings=fleet.settings) as made:
        yield made


def put(fleet: Fleet, body: str, retry: dict[str, object], **spec: object) -> int:
    source = HEAD + "@task\ndef job(ctx: TaskContext):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    return fleet.put("job", source, retry=retry, **(CONTEXT | spec))


def test_a_run_is_tried_until_it_succeeds_and_each_attempt_is_told(fleet: Fleet, client: Client) -> None:
    put(fleet, "if ctx.attempt < 3: raise ValueError(f'not {ctx.attempt}')\nreturn ctx.attempt", SOON)
    fleet.start(1)
    run = client.enqueue("job")

    assert run.wait(20) == 3
    assert [(item["attempt"], item["outcome"], item["error"], item["version"]) for item in run.attempts] == [
        (1, "error", "ValueError: not 1", 1),
        (2, "error", "ValueError: not 2", 1),
        (3, "succeeded", None, 1),
    ]
    assert all(item["started_at"] <= item["ended_at"] for item in run.attempts)
    assert run.due_at is not None
    # Its log holds the tracebacks
    texts = [line["text"] for line in run_sync(read_logs(fleet.keys, run.id), fleet.redis)]
    assert [text.splitlines()[0] for text in texts] == [
        "attempt 1 failed (error); the next one in 0.05 s",
        "attempt 2 failed (error); the next one in 0.1 s",
    ]
    assert all("Traceback" in text and "raise ValueError" in text for text in texts)
    # And each attempt that was to be followed by another one has its event
    events = [json.loads(entry[b"event"]) for _, entry in fleet.redis.xrange(fleet.keys.events)]
    assert [(event["type"], event["data"]["attempt"]) for event in events] == [
        ("taskq.run.retrying", 1),
        ("taskq.run.retrying", 2),
        ("taskq.run.succeeded", 3),
    ]
    assert (events[0]["data"]["status"], events[0]["data"]["reason"], events[0]["data"]["error"]) == (
        "retrying",
        "error",
        "ValueError: not 1",
    )
    assert fleet.redis.zcard(fleet.keys.scheduler_runs) == 0


def test_a_run_fails_once_its_retries_are_used_up(fleet: Fleet, client: Client) -> None:
    put(fleet, "raise ValueError(ctx.attempt)", {"max": 2, "delay": 0})
    fleet.start(1)
    run = client.enqueue("job")

    with pytest.raises(RunFailed, match="ValueError: 3"):
        run.wait(20)
    assert (run.reason, [item["outcome"] for item in run.attempts]) == ("error", ["error"] * 3)


def test_a_run_that_waits_for_its_next_attempt_is_seen_by_us_and_by_rq(fleet: Fleet, client: Client) -> None:
    put(fleet, "raise ValueError('no')", {"max": 1, "delay": 3600, "jitter": 0, "max_delay": 3600})
    fleet.start(1)
    run = client.enqueue("job")
    until(lambda: run.refresh().status == "retrying", 20, "it waits")

    assert (run.attempt, run.started_at, run.ended_at) == (1, None, None)
    assert [item["outcome"] for item in run.attempts] == ["error"]
    (due,) = [score for _, score in fleet.redis.zrange(fleet.keys.scheduler_runs, 0, -1, withscores=True)]
    assert abs(due / 1000 - fleet.redis.time()[0] - 3600) < 30
    assert ScheduledJobRegistry("taskq.default", connection=fleet.redis).get_job_ids() == [run.id]
    assert [document["run"] for document in run_sync(list_runs(fleet.keys, status="retrying"), fleet.redis)] == [run.id]
    assert run_sync(list_runs(fleet.keys, status="scheduled"), fleet.redis) == []
    # It can be cancelled as any run that waits
    run.cancel()
    assert (run.status, fleet.redis.zcard(fleet.keys.scheduler_runs)) == ("cancelled", 0)
    assert ScheduledJobRegistry("taskq.default", connection=fleet.redis).count == 0
    assert fleet.redis.ttl(fleet.keys.attempts(run.id)) > 0


def test_a_retry_runs_on_the_code_of_its_time_unless_it_is_pinned(fleet: Fleet, client: Client) -> None:
    put(fleet, "raise ValueError('old')", {"max": 1, "delay": 2})
    routed, pinned = (client.options(pin=pin).enqueue("job") for pin in (False, True))
    fleet.start(1)
    until(lambda: (routed.refresh().status, pinned.refresh().status) == ("retrying", "retrying"), 20, "both wait")
    put(fleet, "return 'new'", {"max": 1})

    assert routed.wait(20) == "new"
    with pytest.raises(RunFailed, match="old"):
        pinned.wait(20)
    assert [item["version"] for item in routed.attempts] == [1, 2]


def test_only_what_the_policy_names_is_retried(fleet: Fleet, client: Client) -> None:
    fleet.put(
        "job",
        HEAD + "class Flaky(OSError): pass\nclass Worse(Flaky): pass\n@task\ndef job(kind: str): raise globals()[kind]('x')\n",
        parameters={"json_schema": {"type": "object"}},
        retry={"max": 1, "delay": 0, "on": ["OSError"], "not_on": ["Worse"]},
    )
    fleet.start(1)
    runs = {kind: client.enqueue("job", kind=kind) for kind in ("Flaky", "Worse", "KeyError")}
    for run in runs.values():
        with pytest.raises(RunFailed):
            run.wait(20)
    assert {kind: run.attempt for kind, run in runs.items()} == {"Flaky": 2, "Worse": 1, "KeyError": 1}


def test_a_run_that_exceeds_its_timeout_is_retried(fleet: Fleet, client: Client) -> None:
    put(fleet, "if ctx.attempt == 1: time.sleep(60)\nreturn ctx.attempt", SOON, timeout=0.5)
    fleet.start(1)
    run = client.enqueue("job")
    assert run.wait(20) == 2
    assert [item["outcome"] for item in run.attempts] == ["timeout", "succeeded"]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_task_can_ask_for_its_next_attempt(fleet: Fleet, client: Client, kind: str) -> None:
    body = (
        f"@task\n{kind} job(ctx: TaskContext):\n"
        "    try:\n"
        "        if ctx.attempt == 1: ctx.retry(in_='50ms', error='429')\n"
        "        if ctx.attempt == 2: raise ValueError('inner')\n"
        "    except ValueError:\n"
        "        ctx.retry(in_=0)\n"
        "    except Exception:\n"
        "        raise AssertionError('swallowed')\n"
        "    return ctx.attempt\n"
    )
    fleet.put("job", HEAD + body, retry={"max": 2, "delay": 3600, "not_on": ["error"]}, **CONTEXT)
    fleet.start(1)
    run = client.enqueue("job")
    assert run.wait(20) == 3
    assert [(item["outcome"], item["error"]) for item in run.attempts] == [
        ("error", "429"),
        ("error", "ValueError: inner"),
        ("succeeded", None),
    ]


@pytest.mark.parametrize(("most", "why"), [(0, "declares none: give it retry=Retry(max=…)"), (1, "its retries are used up (max=1)")])
def test_a_task_that_asks_beyond_its_retries_fails_and_says_so(fleet: Fleet, client: Client, most: int, why: str) -> None:
    put(fleet, "ctx.retry(in_=0, error='429')", {"max": most})
    fleet.start(1)
    run = client.enqueue("job")
    with pytest.raises(RunFailed):
        run.wait(20)
    assert (run.reason, run.attempt) == ("error", most + 1)
    assert why in (run.error or "")
    assert "429" in (run.error or "")


def test_f17_crashes_use_up_no_retries_and_the_third_is_poison_whatever_is_left(fleet: Fleet, client: Client) -> None:
    # Given a task that fails, crashes, fails, crashes …
    body = "if ctx.attempt % 2: raise ValueError(ctx.attempt)\nos.kill(os.getpid(), signal.SIGSEGV)"
    put(fleet, body, {"max": 100, "delay": 0})
    worker = fleet.start(1)
    run = client.enqueue("job")
    with pytest.raises(RunFailed):
        run.wait(30)
    # Then the third crash ends it
    assert run.reason == "poison"
    assert [item["outcome"] for item in run.attempts] == ["error", "executor_died"] * 2 + ["error", "poison"]
    assert [item["error"] for item in run.attempts if item["outcome"] == "executor_died"] == ["signal 11 (SIGSEGV)"] * 2
    assert worker.process.poll() is None
    # And when it is retried by hand, all of it is counted anew
    run.retry()
    until(lambda: run.refresh().status == "failed", 30, "it failed again")
    assert (run.reason, run.attempt) == ("poison", 12)


def test_f17_losses_leave_all_retries(fleet: Fleet, client: Client) -> None:
    put(fleet, "if ctx.attempt <= 2: os._exit(3)\nraise ValueError(ctx.attempt)", {"max": 2, "delay": 0})
    fleet.start(1)
    run = client.enqueue("job")
    with pytest.raises(RunFailed, match="ValueError: 5"):
        run.wait(30)
    assert [item["outcome"] for item in run.attempts] == ["executor_died"] * 2 + ["error"] * 3


def test_f17_sys_exit_is_a_failure_that_is_retried_as_any_other(fleet: Fleet, client: Client) -> None:
    put(fleet, "if ctx.attempt == 1: sys.exit(3)\nreturn os.getpid()", {"max": 1, "delay": 0, "on": ["SystemExit"]})
    worker = fleet.start(1)
    before = {child.pid for child in worker.executors()}
    run = client.enqueue("job")
    assert {run.wait(20)} == before
    assert [(item["outcome"], item["error"]) for item in run.attempts] == [("error", "SystemExit: 3"), ("succeeded", None)]


def test_a_retry_is_due_on_time_though_no_scheduler_runs_and_its_worker_is_dead(fleet: Fleet, client: Client) -> None:
    put(fleet, "if ctx.attempt == 1: raise ValueError('no')\nreturn ctx.attempt", {"max": 1, "delay": 2, "jitter": 0})
    first = fleet.start(1)
    run = client.enqueue("job")
    until(lambda: run.refresh().status == "retrying", 20, "it waits")
    first.kill()
    fleet.start(1)
    assert run.wait(20) == 2
    assert [item["outcome"] for item in run.attempts] == ["error", "succeeded"]


def test_workers_leave_due_runs_to_a_scheduler_that_leads(fleet: Fleet, client: Client) -> None:
    put(fleet, "return 1", SOON)
    fleet.redis.set(fleet.keys.scheduler_lease, "1|scheduler")
    run = client.options(in_="10ms").enqueue("job")
    worker = fleet.start(1)
    before = fleet.redis.info("commandstats")["cmdstat_smembers"]["calls"]
    until(lambda: fleet.redis.info("commandstats")["cmdstat_smembers"]["calls"] > before + 3, 20, "sweeps were done")
    assert run.refresh().status == "scheduled"
    # When it is gone
    fleet.redis.delete(fleet.keys.scheduler_lease)
    assert run.wait(20) == 1
    worker.process.send_signal(signal.SIGTERM)


def test_a_run_of_a_paused_task_is_tried_again_when_it_is_resumed(fleet: Fleet, client: Client) -> None:
    put(fleet, "if ctx.attempt == 1: raise ValueError('no')\nreturn ctx.attempt", {"max": 1, "delay": 1})
    run = client.enqueue("job")
    fleet.start(1)
    until(lambda: run.refresh().status == "retrying", 20, "it waits")
    fleet.set_state("job", "paused")
    until(lambda: fleet.redis.llen(fleet.keys.parked("job")), 20, "it is put aside")
    assert run.refresh().status == "queued"
    fleet.set_state("job", "active")
    assert run.wait(20) == 2


def test_a_failed_run_is_run_again_by_hand(fleet: Fleet, client: Client, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    put(fleet, f"if not os.path.exists({str(mended)!r}): raise ValueError('no')\nreturn ctx.attempt", {"max": 0})
    fleet.start(1)
    run = client.enqueue("job")
    with pytest.raises(RunFailed):
        run.wait(20)
    mended.touch()
    run.retry()
    assert run.wait(20) == 2
    assert [item["outcome"] for item in run.attempts] == ["error", "succeeded"]
    assert client.runs(status="failed") == []
