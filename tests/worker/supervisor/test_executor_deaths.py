"""Executors that are killed or crash under load: F2, F17; and async and threaded runs beside each other."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import psutil
import pytest
from support.fleet import Fleet
from support.waiting import until

HEAD = "import asyncio, ctypes, os, signal, sys, threading, time\nfrom taskq.registry import task, TaskContext\n"
FREE = {"json_schema": {"type": "object"}}
WITH_CONTEXT = {"parameters": {**FREE, "context": "ctx"}}
# One write a line, so that a kill leaves whole lines.
LEDGER = "    os.write(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), f'{ctx.run}\\n'.encode())\n"
QUICK = HEAD + "@task\ndef quick(ctx: TaskContext, path: str):\n    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
QUICK += "    os.write(file, f'{ctx.run}\\n'.encode())\n    os.close(file)\n"


def starts(path: Path) -> Counter[str]:
    return Counter(path.read_text().split()) if path.exists() else Counter()


def recorded(fleet: Fleet, run: str) -> int:
    """How many starts of a run that has ended are recorded: earlier attempts, and the last."""
    return len(fleet.attempts(run)) + 1


@pytest.mark.parametrize("task", ["quick", "async_quick", "threaded_quick"])
def test_f2_no_start_goes_unrecorded_however_often_executors_are_killed_under_load(fleet: Fleet, tmp_path: Path, task: str) -> None:
    """Given thousands of short runs, when executors are killed in the midst, then each start in the ledger is one that is recorded."""
    source, more = QUICK, {}
    if task == "async_quick":
        source, more = QUICK.replace("def quick", "async def async_quick"), {"coroutine": True}
    elif task == "threaded_quick":
        source, more = QUICK.replace("def quick", "def threaded_quick"), {"threads": 8}
    fleet.put(task, source, **WITH_CONTEXT, **more)
    worker, path, dice = fleet.start(2), tmp_path / "ledger", random.Random(2)
    runs = fleet.enqueue(task, 6000, path=str(path))
    ended = fleet.keys.rq_registry("finished", "default")
    for kill in range(8):
        until(lambda kill=kill: fleet.redis.zcard(ended) >= 600 * (kill + 1), 60, fleet.texts())
        executors = until(lambda: len(found := worker.executors()) >= 2 and found, 10)
        dice.choice(executors).kill()
    for run in runs:
        assert fleet.ended(run, 60) == "finished"
    happened = starts(path)
    assert set(happened) == set(runs)
    unrecorded = {run: (count, fleet.attempts(run)) for run, count in happened.items() if count > recorded(fleet, run)}
    assert not unrecorded
    again = [attempt for run in runs if happened[run] > 1 for attempt in fleet.attempts(run)]
    assert {(attempt["outcome"], attempt["error"]) for attempt in again} <= {("executor_died", "signal 9 (SIGKILL)")}


def test_f2_a_killed_executor_is_seen_within_100_ms_and_replaced_within_1_s_and_no_other_slot_is_touched(
    fleet: Fleet, tmp_path: Path
) -> None:
    source = (
        HEAD
        + "@task\ndef nap(ctx: TaskContext, path: str):\n"
        + LEDGER
        + "    time.sleep(0 if ctx.attempt > 1 else 3)\n    return os.getpid()\n"
    )
    fleet.put("nap", source, **WITH_CONTEXT)
    worker, path = fleet.start(2), tmp_path / "ledger"
    first, second = fleet.enqueue("nap", 2, path=str(path))
    until(lambda: sum(starts(path).values()) == 2, what="both have begun")
    until(lambda: all(fleet.field(run, "version") for run in (first, second)), what="both are noted")
    victim, other = worker.executors()
    killed_at = fleet.redis.time()
    victim.kill()
    until(lambda: fleet.attempts(first) or fleet.attempts(second), 5)
    lost, beside = (first, second) if fleet.attempts(first) else (second, first)
    ((attempt,), _) = fleet.attempts(lost), until(lambda: len(worker.executors()) == 2, 1.0, "the executor is replaced")
    assert (attempt["outcome"], attempt["error"]) == ("executor_died", "signal 9 (SIGKILL)")
    assert attempt["ended_at"] - (killed_at[0] + killed_at[1] / 1e6) <= 0.1
    assert fleet.result(beside) == other.pid
    assert fleet.attempts(beside) == []
    assert fleet.result(lost) is not None


CRASHES = {
    "segfault": ("ctypes.string_at(0)", "signal 11 (SIGSEGV)"),
    "abort": ("os.abort()", "signal 6 (SIGABRT)"),
    "exit": ("os._exit(7)", "exit code 7"),
    "overflow": ("sys.setrecursionlimit(10**9)\n    call = ctypes.CFUNCTYPE(None)(lambda: call())\n    call()", "signal 11 (SIGSEGV)"),
}


@pytest.mark.parametrize("how", list(CRASHES))
@pytest.mark.parametrize("lane", ["alone", "async", "threads"])
def test_f17_a_run_that_crashes_three_executors_fails_with_reason_poison_and_the_signals_name(fleet: Fleet, how: str, lane: str) -> None:
    code, told = CRASHES[how]
    more = {"async": {"coroutine": True}, "threads": {"threads": 4}}.get(lane, {})
    fleet.put("crash", HEAD + f"@task\n{'async ' * (lane == 'async')}def crash():\n    {code}\n", parameters=FREE, **more)
    fleet.put("fine", HEAD + "@task\ndef fine():\n    return 1\n")
    worker = fleet.start(1)
    (run,) = fleet.enqueue("crash")

    reason, error = fleet.failure(run, 30)
    assert reason == "poison"
    assert told in error
    attempts = fleet.attempts(run)
    assert [attempt["outcome"] for attempt in attempts] == ["executor_died"] * 2
    assert all(told in attempt["error"] for attempt in attempts)
    assert worker.process.poll() is None
    assert fleet.result(fleet.enqueue("fine")[0]) == 1


BREAKS = {
    "closes": "os.closerange(3, 300)",
    "writes": "[os.write(n, b'rubbish') for n in range(3, 99) if 'socket' in os.path.realpath(f'/proc/self/fd/{n}')]",
}


@pytest.mark.parametrize("how", list(BREAKS))
@pytest.mark.parametrize("lane", ["alone", "async", "threads"])
def test_f17_a_run_that_breaks_the_link_of_its_executor_is_poison_at_the_third_time(fleet: Fleet, how: str, lane: str) -> None:
    more = {"async": {"coroutine": True}, "threads": {"threads": 4}}.get(lane, {})
    kind = "async " * (lane == "async")
    fleet.put("breaks", f"{HEAD}@task\n{kind}def breaks():\n    {BREAKS[how]}\n", parameters=FREE, **more)
    fleet.put("fine", HEAD + "@task\ndef fine():\n    return 1\n")
    worker = fleet.start(1)
    (run,) = fleet.enqueue("breaks")
    assert fleet.failure(run, 30)[0] == "poison"
    assert 2 <= len(fleet.attempts(run)) <= 3  # the first time, it may have ended before
    assert worker.process.poll() is None
    assert fleet.result(fleet.enqueue("fine")[0]) == 1


def test_a_run_behind_an_on_unload_that_does_not_return_is_neither_late_nor_lost(fleet: Fleet) -> None:
    source = HEAD + "class T(Task):\n    def execute(self): return NUMBER\n    def on_unload(self): time.sleep(3600)\n"
    source = source.replace("import task,", "import task, Task,")
    fleet.put("fine", HEAD + "@task\ndef fine():\n    return 1\n", grace=1.0)
    worker = fleet.start(1)
    for number in (1, 2):
        fleet.put("t", source.replace("NUMBER", str(number)), attribute="T")
        assert fleet.result(fleet.enqueue("t")[0]) == number
    runs: list[str] = []
    while "it is replaced" not in worker.text():  # a version is dropped some seconds after its last run
        (run,) = fleet.enqueue("fine", limit="1")
        runs.append(run)
        assert fleet.ended(run) == "finished"
    assert fleet.attempts(runs[-1]) == []


@pytest.mark.parametrize("code", ["sys.exit(3)", "raise SystemExit('no')", "raise KeyboardInterrupt"])
@pytest.mark.parametrize("lane", ["alone", "async", "threads"])
def test_f17_a_run_that_calls_sys_exit_fails_by_itself(fleet: Fleet, code: str, lane: str) -> None:
    more = {"async": {"coroutine": True}, "threads": {"threads": 4}}.get(lane, {})
    fleet.put("leaves", HEAD + f"@task\n{'async ' * (lane == 'async')}def leaves():\n    {code}\n", parameters=FREE, **more)
    worker = fleet.start(1)
    before = [child.pid for child in worker.executors()]
    (run,) = fleet.enqueue("leaves")

    reason, error = fleet.failure(run)
    assert reason == "error"
    assert error.startswith(("SystemExit", "KeyboardInterrupt"))
    assert [child.pid for child in worker.executors()] == before


@pytest.mark.parametrize("lane", ["async", "threads"])
def test_f17_a_crash_is_counted_against_none_of_those_beside_it(fleet: Fleet, tmp_path: Path, lane: str) -> None:
    """Given a run that crashes beside twenty others, then it ends as poison, each of these succeeds, and none of them is charged a loss."""
    more = {"coroutine": True} if lane == "async" else {"threads": 32}
    nap, kind = ("await asyncio.sleep(0.5)", "async ") if lane == "async" else ("time.sleep(0.5)", "")
    source = HEAD + f"@task\n{kind}def t(ctx: TaskContext, path: str, crash: bool):\n" + LEDGER + f"    {nap}\n    if crash: os.abort()\n"
    fleet.put("t", source, **WITH_CONTEXT, **more)
    worker, path = fleet.start(1), tmp_path / "ledger"
    fleet.ended(fleet.enqueue("t", path=str(tmp_path / "first"), crash=False)[0])  # so that the next claim knows what to expect
    innocent = fleet.enqueue("t", 20, path=str(path), crash=False)
    (guilty,) = fleet.enqueue("t", path=str(path), crash=True)

    reason, error = fleet.failure(guilty, 60)
    assert (reason, "SIGABRT" in error) == ("poison", True)
    for run in innocent:
        assert fleet.ended(run, 30) == "finished"
        assert fleet.field(run, "losses") in ("", "0")
        assert fleet.field(run, "attempt") == "1"
        assert starts(path)[run] <= recorded(fleet, run)
    assert worker.process.poll() is None


def test_a_worker_with_two_executors_has_two_hundred_async_runs_in_progress(fleet: Fleet, tmp_path: Path) -> None:
    source = HEAD + "@task\nasync def t(ctx: TaskContext, path: str, gate: str):\n" + LEDGER
    source += "    while not os.path.exists(gate): await asyncio.sleep(0.02)\n    return ctx.run\n"
    fleet.put("t", source, coroutine=True, **WITH_CONTEXT)
    fleet.start(2)
    path, gate = tmp_path / "ledger", tmp_path / "gate"
    runs = fleet.enqueue("t", 250, path=str(path), gate=str(gate))
    until(lambda: len(starts(path)) == 200, 20, "200 are in progress")
    gate.touch()
    for run in runs:
        assert fleet.result(run) == run


def test_runs_that_must_be_alone_and_async_ones_share_a_worker_and_neither_waits_for_ever(fleet: Fleet) -> None:
    fleet.put("a", HEAD + "@task\nasync def a():\n    await asyncio.sleep(0.05)\n", coroutine=True, parameters=FREE)
    fleet.put("b", HEAD + "@task\ndef b():\n    time.sleep(0.02)\n", parameters=FREE)
    fleet.start(1)
    runs = [run for _ in range(20) for run in (*fleet.enqueue("a", 10), *fleet.enqueue("b"))]
    for run in runs:
        assert fleet.ended(run, 40) == "finished"
        assert fleet.attempts(run) == []


@pytest.mark.parametrize(("lane", "body"), [("async", "await asyncio.sleep(60)"), ("threads", "while True: time.sleep(0.01)")])
def test_a_late_run_is_stopped_and_those_beside_it_are_not(fleet: Fleet, lane: str, body: str) -> None:
    more = {"coroutine": True} if lane == "async" else {"threads": 8}
    kind, nap = ("async ", "await asyncio.sleep(2)") if lane == "async" else ("", "time.sleep(2)")
    source = HEAD + f"@task\n{kind}def t(late: bool = False):\n    if late:\n        {body}\n    {nap}\n    return os.getpid()\n"
    fleet.put("t", source, timeout=30.0, grace=5.0, parameters=FREE, **more)
    worker = fleet.start(1)
    (executor,) = worker.executors()
    beside = fleet.enqueue("t", 3)
    (late,) = fleet.enqueue("t", limit="0.5", late=True)

    assert fleet.failure(late)[0] == "timeout"
    assert {fleet.result(run) for run in beside} == {executor.pid}


def test_f20_a_thread_that_can_not_be_reached_is_killed_and_those_beside_it_run_again(fleet: Fleet, tmp_path: Path) -> None:
    source = HEAD + "@task\ndef t(ctx: TaskContext, path: str, deaf: bool = False):\n" + LEDGER
    source += "    while deaf: threading.Event().wait()\n    time.sleep(2.5)\n    return ctx.attempt\n"
    fleet.put("t", source, timeout=30.0, grace=1.0, threads=8, **WITH_CONTEXT)
    fleet.start(1)
    path = tmp_path / "ledger"
    fleet.ended(fleet.enqueue("t", path=str(tmp_path / "first"))[0])
    beside = fleet.enqueue("t", 3, path=str(path))
    (deaf,) = fleet.enqueue("t", limit="1", path=str(path), deaf=True)

    assert fleet.failure(deaf)[0] == "timeout"
    for run in beside:
        assert fleet.result(run) == 1  # no attempt was burned
        assert [attempt["outcome"] for attempt in fleet.attempts(run)] == ["executor_died"]
        assert starts(path)[run] == 2


def test_f20_an_endless_loop_that_ignores_sigterm_and_swallows_its_timeout_is_killed_within_the_grace_and_1_s(fleet: Fleet) -> None:
    source = HEAD + (
        "@task\ndef stubborn():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        # Twice, as a stop that strikes between the inner block and the next one would end it.
        "    while True:\n        try:\n            while True:\n                try:\n                    while True: sum(range(999))\n"
        "                except BaseException: pass\n        except BaseException: pass\n"
    )
    fleet.put("stubborn", source, timeout=0.5, grace=1.0, parameters=FREE)
    worker = fleet.start(1)
    (executor,) = worker.executors()
    (run,) = fleet.enqueue("stubborn")
    until(lambda: fleet.redis.zcard(fleet.keys.leases) == 1, what="it is claimed")
    (lease,) = fleet.redis.zrange(fleet.keys.leases, 0, -1)

    def leased() -> bool:
        return fleet.redis.zscore(fleet.keys.leases, lease) is not None

    began = fleet.redis.time()
    until(lambda: fleet.field(run, "status") == "failed" or not leased(), 10)
    assert fleet.failure(run)[0] == "timeout"
    ended = fleet.redis.time()
    assert ended[0] - began[0] + (ended[1] - began[1]) / 1e6 <= 0.5 + 1.0 + 1.0
    assert not psutil.pid_exists(executor.pid)
    assert worker.process.poll() is None
