"""Stops: aimed at one run, deferred where they would do harm, never lost and never misdirected."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from support.executor import DrivenExecutor

from taskq.registry import codec
from taskq.worker.link.protocol import Kind, as_report

HEAD = "import asyncio, time\nfrom taskq import task\n@task\n"
SYNC = HEAD + "def t():\n    print('begun')\n    while True: time.sleep(0.01)\n"
BUSY = HEAD + "def t():\n    print('begun')\n    while True: pass\n"
BLOCKED = HEAD + "def t():\n    print('begun')\n    time.sleep(600)\n"
ASYNC = HEAD + "async def t():\n    print('begun')\n    await asyncio.sleep(600)\n"
OWN_LOOP = HEAD + "def t():\n    async def go():\n        print('begun')\n        await asyncio.sleep(600)\n    asyncio.run(go())\n"
CLEANS_UP = HEAD + "def t():\n    try:\n        print('begun'); time.sleep(600)\n    finally: print('cleaned')\n"
SWALLOWS = HEAD + "def t():\n    try:\n        print('begun'); time.sleep(600)\n    except BaseException: return 1\n"
NOOP = "from taskq import task\n@task\ndef noop(n: int = 0): return n\n"


@pytest.mark.parametrize("source", [SYNC, BUSY, BLOCKED, ASYNC, OWN_LOOP, CLEANS_UP, SWALLOWS])
@pytest.mark.parametrize(
    ("why", "outcome", "reason", "error"),
    [
        ("timeout", "failed", "timeout", "the run exceeded its timeout of 30 s"),
        ("cancel", "failed", "cancelled", "the run was cancelled"),
        ("shutdown", "released", None, "stopped because the worker shuts down"),
    ],
)
def test_a_run_that_is_told_to_stop_stops(
    executor: DrivenExecutor, source: str, why: str, outcome: str, reason: str | None, error: str
) -> None:
    executor.load(source)
    executor.load(NOOP, "noop")
    number = executor.start()
    executor.first_line(number)
    executor.send(Kind.CANCEL, number, why=why, interrupt=True)
    ended = executor.finished(number, timeout=5)
    assert (ended["outcome"], ended["reason"], ended["error"], ended["result"]) == (outcome, reason, error, None)
    assert executor.run("noop", params={"n": 7})["outcome"] == "succeeded"


def test_an_async_run_may_clean_up_and_sees_an_ordinary_cancellation(executor: DrivenExecutor) -> None:
    executor.load(
        "import asyncio\nfrom taskq import task\n@task\nasync def t():\n    print('begun')\n    try: await asyncio.sleep(600)\n"
        "    except asyncio.CancelledError:\n        await asyncio.sleep(0.01)\n        print('cleaned')\n        raise\n"
    )
    number = executor.start()
    executor.first_line(number)
    executor.send(Kind.CANCEL, number, why="timeout", interrupt=True)
    ended = executor.finished(number)
    assert (ended["reason"], ended["lines"]) == ("timeout", [["STDOUT", "cleaned"]])


def test_an_async_run_that_blocks_its_loop_is_struck_when_told_again(executor: DrivenExecutor) -> None:
    executor.load("import time\nfrom taskq import task\n@task\nasync def t():\n    print('begun')\n    while True: time.sleep(0.01)\n")
    number = executor.start()
    executor.first_line(number)
    executor.send(Kind.CANCEL, number, why="timeout", interrupt=True)
    with pytest.raises(TimeoutError):
        executor.receive(timeout=0.2)
    executor.send(Kind.CANCEL, number, why="timeout", interrupt=True)
    assert executor.finished(number)["reason"] == "timeout"


def test_a_run_that_swallowed_the_first_stop_is_struck_again(executor: DrivenExecutor) -> None:
    executor.load(
        HEAD + "def t():\n    for n in range(3):\n        try:\n            print(n); time.sleep(600)\n        except BaseException: pass\n"
    )
    number = executor.start()
    for expected in "012":
        assert executor.first_line(number) == expected
        executor.send(Kind.CANCEL, number, why="timeout", interrupt=True)
    assert executor.finished(number)["reason"] == "timeout"


def test_a_run_that_is_queued_is_stopped_yielded_or_drained_at_once(executor: DrivenExecutor) -> None:
    executor.load(BLOCKED)
    executor.load(NOOP, "noop")
    running = executor.start()
    cancelled, yielded, shut, *drained = (executor.start("noop") for _ in range(5))
    executor.first_line(running)
    executor.send(Kind.CANCEL, cancelled, why="cancel", interrupt=True)
    ended = executor.finished(cancelled)
    assert (ended["outcome"], ended["reason"]) == ("failed", "cancelled")
    executor.send(Kind.YIELD, yielded, interrupt=True)
    assert executor.finished(yielded)["outcome"] == "released"
    executor.send(Kind.CANCEL, shut, why="shutdown", interrupt=True)
    assert executor.finished(shut)["outcome"] == "released"
    executor.send(Kind.DRAIN, interrupt=True)
    assert [executor.finished(number)["outcome"] for number in drained] == ["released", "released"]
    executor.send(Kind.CANCEL, running, why="shutdown", interrupt=True)
    assert executor.finished(running)["outcome"] == "released"
    assert executor.process.wait(5) == 0


def test_yield_leaves_a_run_alone_that_has_begun(executor: DrivenExecutor) -> None:
    executor.load(BLOCKED)
    number = executor.start()
    executor.first_line(number)
    executor.send(Kind.YIELD, number, interrupt=True)
    executor.send(Kind.CANCEL, number + 1000, why="cancel", interrupt=True)
    with pytest.raises(TimeoutError):
        executor.receive(timeout=0.2)
    executor.send(Kind.CANCEL, number, why="cancel", interrupt=True)
    assert executor.finished(number)["reason"] == "cancelled"


def test_a_drain_without_a_signal_is_seen_before_the_next_batch(executor: DrivenExecutor) -> None:
    executor.load("import time\nfrom taskq import task\n@task\ndef t(): time.sleep(0.01)\n")
    numbers = [executor.start() for _ in range(50)]
    executor.send(Kind.DRAIN)
    outcomes = [executor.finished(number)["outcome"] for number in numbers]
    assert outcomes.count("released") > 40
    assert executor.process.wait(5) == 0


def test_a_load_of_signals_loses_no_run_and_cuts_no_frame(executor: DrivenExecutor) -> None:
    """Given hundreds of runs that print, when signals come all the time, then each run ends once, as itself."""
    executor.load("from taskq import task\n@task\ndef t(n: int):\n    print('x' * 200)\n    return n\n")
    over = threading.Event()

    def annoy() -> None:
        while not over.is_set():
            os.kill(executor.pid, signal.SIGUSR1)

    annoying = threading.Thread(target=annoy)
    annoying.start()
    try:
        for start in range(0, 500, 50):
            numbers = [executor.start(params={"n": n}) for n in range(start, start + 50)]
            assert [codec.loads(executor.finished(number)["result"]) for number in numbers] == list(range(start, start + 50))
    finally:
        over.set()
        annoying.join()


def test_a_cancel_strikes_its_own_run_and_no_other(executor: DrivenExecutor) -> None:
    """Given short runs in a row, when every third is cancelled at an arbitrary moment, then only those may be stopped."""
    executor.load("from taskq import task\n@task\ndef t(n: int):\n    for _ in range(300): pass\n    return n\n")
    stopped = 0
    for start in range(0, 3000, 30):
        numbers = {executor.start(params={"n": n}): n for n in range(start, start + 30)}
        victims = list(numbers)[::3]
        for victim in victims:
            executor.send(Kind.CANCEL, victim, why="cancel", interrupt=True)
        outcomes: dict[int, str] = {}
        while len(outcomes) < len(numbers):
            message = executor.receive()
            assert message.kind is Kind.FINISHED
            assert message.number not in outcomes
            report = as_report(message.body)
            outcomes[message.number] = report["reason"] or report["outcome"]
            if message.number not in victims:
                assert codec.loads(report["result"]) == numbers[message.number]
        stopped += list(outcomes.values()).count("cancelled")
    assert stopped


def test_a_stop_before_the_first_line_of_a_run_is_not_lost(executor: DrivenExecutor) -> None:
    """Given RUN and CANCEL in one write and a signal that comes before both are read, then the run does not go on."""
    executor.load(SYNC)  # not BLOCKED: Python sees a signal that comes just before a system call when that is over; supervisors repeat it
    for _ in range(100):
        number = executor.start()
        executor.send(Kind.CANCEL, number, why="cancel", interrupt=True)
        ended = executor.finished(number)
        assert (ended["outcome"], ended["reason"]) == ("failed", "cancelled")


def test_results_of_earlier_runs_do_not_wait_for_a_long_one(executor: DrivenExecutor) -> None:
    executor.load(BLOCKED)
    executor.load(NOOP, "noop")
    short, long = executor.start("noop"), executor.start()
    assert executor.finished(short, timeout=2)["outcome"] == "succeeded"
    executor.send(Kind.CANCEL, long, why="cancel", interrupt=True)
    assert executor.finished(long)["reason"] == "cancelled"


def test_a_run_that_does_nothing_stays_cheap(executor: DrivenExecutor) -> None:
    """Measured in CPU time of the executor, which does not depend on who else works on the machine: it takes about 12 µs."""
    executor.load(NOOP, "noop")
    runs = 20_000
    before = cpu(executor)
    for _ in range(0, runs, 100):
        for number in [executor.start("noop") for _ in range(100)]:
            executor.finished(number)
    assert (cpu(executor) - before) / runs <= 60e-6


def cpu(executor: DrivenExecutor) -> float:
    fields = Path(f"/proc/{executor.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
