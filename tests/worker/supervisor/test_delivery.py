"""Runs whose worker is killed, stopped or crashed: run again, counted, and recorded once."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from support.fleet import Fleet
from support.waiting import until

from taskq.producer import Client
from taskq.registry.effects import run_sync
from taskq.registry.runs.document import RunDocument, read_run

HEAD = "import os, signal, sys, time\nfrom taskq.registry import TaskContext, task\n"
CONTEXT = {"parameters": {"json_schema": {"type": "object"}, "context": "ctx"}}
LEDGER = (
    HEAD
    + "@task\ndef ledger(ctx: TaskContext, path: str, seconds: float = 0.0):\n"
    + "    with open(path, 'a') as out: out.write(f'start {ctx.run}\\n')\n"
    + "    time.sleep(seconds)\n"
    + "    with open(path, 'a') as out: out.write(f'end {ctx.run}\\n')\n"
    + "    return ctx.attempt\n"
)


def lines(path: Path) -> Counter[str]:
    return Counter(path.read_text().split("\n")[:-1]) if path.exists() else Counter()


def read(fleet: Fleet, run: str) -> RunDocument:
    return run_sync(read_run(fleet.keys, run), fleet.redis)


@pytest.mark.parametrize(
    ("place", "outcomes", "starts"),
    [
        ("worker.claiming", ["succeeded"], {1}),
        ("worker.claimed", ["worker_lost", "succeeded"], {1}),
        ("worker.dispatched", ["worker_lost", "succeeded"], {1, 2}),
        ("worker.settled", ["worker_lost", "succeeded"], {2}),
        ("worker.recording", ["worker_lost", "succeeded"], {2}),
        ("worker.recorded", ["succeeded"], {1}),
    ],
)
def test_f1_a_worker_that_is_killed_anywhere_between_claim_and_record_loses_no_run(
    fleet: Fleet, tmp_path: Path, place: str, outcomes: list[str], starts: set[int]
) -> None:
    fleet.put("ledger", LEDGER, **CONTEXT)
    path = tmp_path / "ledger"
    # Given a worker that is killed at this point of its first run
    doomed = fleet.start(1, dies_at=place, ready=place != "worker.claiming")
    (run,) = fleet.enqueue("ledger", path=str(path))
    assert doomed.process.wait(20) == -signal.SIGKILL, doomed.text()
    # When there is another one
    fleet.start(1)
    # Then the run has one outcome, and each of its starts is recorded
    assert fleet.result(run, 20) == len(outcomes)
    document = read(fleet, run)
    assert [item["outcome"] for item in document["attempts"]] == outcomes
    assert [item["worker"] for item in document["attempts"]][:-1] == ["w0"] * (len(outcomes) - 1)
    assert lines(path)[f"start {run}"] in starts
    assert fleet.redis.xlen(fleet.keys.rq_results(run)) == 1
    # And nothing is left of the one that was killed
    assert fleet.redis.zcard(fleet.keys.leases) == fleet.redis.hlen(fleet.keys.lease) == 0
    assert fleet.redis.zcard(fleet.keys.rq_registry("wip", "default")) == 0


def test_f1_a_run_starts_again_within_5_s_of_the_kill(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("ledger", LEDGER, **CONTEXT)
    path = tmp_path / "ledger"
    workers = {worker.name: worker for worker in (fleet.start(1), fleet.start(1))}
    (run,) = fleet.enqueue("ledger", path=str(path), seconds=3.0)
    until(lambda: lines(path)[f"start {run}"] == 1, what="it started")
    doomed = workers[fleet.field(run, "worker_name")]
    executors = doomed.executors()
    doomed.kill()
    # Its lease of 3 s was renewed at most 1 s ago, and is taken over as it expires: both looks come before that.
    began = time.monotonic()
    until(lambda: lines(path)[f"start {run}"] == 2, 10, "it started again")
    recovered = time.monotonic() - began
    assert fleet.result(run, 20) == 2
    assert not psutil.wait_procs(executors, timeout=3)[1]
    assert lines(path) == {f"start {run}": 2, f"end {run}": 1}
    assert recovered < 5


def test_f5_a_worker_that_slept_past_its_leases_is_refused_and_kills_what_was_taken_over(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("ledger", LEDGER, **CONTEXT)
    sleeper = fleet.start(1)
    path = tmp_path / "ledger"
    # Given one run in progress, and one that has ended and is not recorded, when the worker is stopped
    (run,) = fleet.enqueue("ledger", path=str(path), seconds=30)
    until(lambda: lines(path)[f"start {run}"] == 1, what="it started")
    (executor,) = sleeper.executors()
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    fleet.start(1)
    until(lambda: lines(path)[f"start {run}"] == 2, 15, "the other worker took it over")
    os.kill(sleeper.process.pid, signal.SIGCONT)

    until(lambda: not executor.is_running() or executor.status() == psutil.STATUS_ZOMBIE, 5, "its executor is gone")
    until(lambda: "was taken over" in sleeper.text(), 5, "it says so")
    assert fleet.field(run, "worker_name") == "w1"
    assert [item["outcome"] for item in fleet.attempts(run)] == ["worker_lost"]


def test_f5_the_outcome_of_a_run_that_was_taken_over_is_refused_as_stale(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("ledger", LEDGER, **CONTEXT)
    sleeper = fleet.start(1)
    path = tmp_path / "ledger"
    # Given a worker that is stopped while its executor brings a run to its end
    (run,) = fleet.enqueue("ledger", path=str(path), seconds=1.0)
    until(lambda: lines(path)[f"start {run}"] == 1, what="it started")
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    until(lambda: lines(path)[f"end {run}"] == 1, what="it ended, unreported")
    fleet.start(1)
    assert fleet.result(run, 20) == 2
    before = fleet.redis.hgetall(fleet.keys.rq_job(run))
    # When the worker goes on
    os.kill(sleeper.process.pid, signal.SIGCONT)
    until(lambda: "refused as stale" in sleeper.text() or "was taken over" in sleeper.text(), 10, "it says so")
    # Then the outcome that is recorded stands
    (other,) = fleet.enqueue("ledger", path=str(path))
    fleet.result(other)
    assert fleet.redis.hgetall(fleet.keys.rq_job(run)) == before
    assert fleet.redis.xlen(fleet.keys.rq_results(run)) == 1


def test_a_run_is_poison_when_it_has_cost_three_workers(fleet: Fleet) -> None:
    # Given a task that kills its worker, each time
    fleet.put("bomb", HEAD + "@task\ndef bomb():\n    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(60)\n", retry={"max": 50})
    (run,) = fleet.enqueue("bomb")
    for number in range(3):
        victim = fleet.start(1, ready=False)
        assert victim.process.wait(30) == -signal.SIGKILL, victim.text()
        assert number == 2 or not fleet.field(run, "reason")
    fleet.start(1)
    reason, error = fleet.failure(run, 20)
    assert reason == "poison"
    assert "worker_lost worker w2" in error
    document = read(fleet, run)
    assert [(item["outcome"], item["worker"]) for item in document["attempts"]] == [
        ("worker_lost", "w0"),
        ("worker_lost", "w1"),
        ("poison", "w2"),
    ]


@pytest.mark.parametrize("killed", ["worker", "executor"])
def test_a_run_that_must_not_run_twice_fails_as_lost(fleet: Fleet, tmp_path: Path, killed: str) -> None:
    fleet.put("ledger", LEDGER, on_lost="fail", retry={"max": 5, "delay": 0}, **CONTEXT)
    path = tmp_path / "ledger"
    doomed = fleet.start(1)
    (run,) = fleet.enqueue("ledger", path=str(path), seconds=60)
    until(lambda: lines(path)[f"start {run}"] == 1, what="it started")
    if killed == "worker":
        doomed.kill()
        fleet.start(1)
    else:
        doomed.executors()[0].kill()
    reason, error = fleet.failure(run, 20)
    assert reason == "lost"
    assert error == {"worker": "worker_lost: worker w0", "executor": "executor_died: signal 9 (SIGKILL)"}[killed]
    assert lines(path)[f"start {run}"] == 1


def test_f29_a_run_that_is_asked_for_again_by_its_key_is_one_run_whatever_has_become_of_it(fleet: Fleet) -> None:
    fleet.put(
        "job",
        HEAD + "@task\ndef job(ctx: TaskContext):\n    if ctx.attempt < 2: raise ValueError\n    return 1\n",
        retry={"max": 1, "delay": 2},
        **CONTEXT,
    )
    with Client(fleet.redis, settings=fleet.settings) as client:
        keyed = client.options(key="k")
        first = keyed.enqueue("job")
        assert not first.deduplicated
        again = keyed.enqueue("job")
        assert (again.id, again.deduplicated, again.status) == (first.id, True, "queued")
        fleet.start(1)
        until(lambda: first.refresh().status == "retrying", 20, "it waits for its next attempt")
        assert (keyed.enqueue("job").id, keyed.enqueue("job").status) == (first.id, "retrying")
        assert first.wait(20) == 1
        assert (keyed.enqueue("job").id, keyed.enqueue("job").status) == (first.id, "succeeded")
    assert fleet.redis.zcard(fleet.keys.runs) == 1


def test_f31_what_another_release_has_written_is_put_back_and_never_guessed_at(fleet: Fleet) -> None:
    fleet.put("fine", HEAD + "@task\ndef fine():\n    return 1\n")
    fleet.put("job", HEAD + "@task\ndef job():\n    return 1\n")
    form, data, task = (fleet.enqueue("job")[0] for _ in range(3))
    # Given a run of a newer form, one whose parameters are of a newer format, and one whose task's record is unreadable
    fleet.redis.hset(fleet.keys.rq_job(form), "taskq", "9")
    blob = fleet.redis.hget(fleet.keys.rq_job(data), "data")
    assert blob is not None
    fleet.redis.hset(fleet.keys.rq_job(data), "data", blob.replace(b"\xc1\x01", b"\xc1\x09"))
    fleet.redis.hset(fleet.keys.rq_job(task), "task", "newer")
    fleet.redis.hset(fleet.keys.registry, "newer", b"\xc1\x09 what nobody here reads")
    before = {run: fleet.redis.hget(fleet.keys.rq_job(run), "data") for run in (form, data, task)}
    worker = fleet.start(1)
    # Then others behind them run
    for run in fleet.enqueue("fine", 3):
        assert fleet.result(run) == 1
    # And they wait as they were, with no attempt burned
    worker.terminate()
    assert worker.process.wait(15) == 0, worker.text()
    queue = {run.decode() for run in fleet.redis.lrange(fleet.keys.rq_queue("default"), 0, -1)}
    assert queue == {form, data, task}
    for run in (form, data, task):
        assert fleet.field(run, "status") == "queued"
        assert fleet.field(run, "attempt") in ("", "0")
        assert fleet.redis.hget(fleet.keys.rq_job(run), "data") == before[run]
        assert fleet.attempts(run) == []
