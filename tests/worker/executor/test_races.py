"""Messages and signals that come in the midst of something else, and task code that comes back where it should not."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from support.executor import DrivenExecutor

from taskq.registry import codec
from taskq.worker.link.protocol import Encoder, Kind, Message, Report, as_report

HEAD = "import asyncio, os, threading, time\nfrom contextvars import ContextVar\nfrom taskq import task, Task\n"
LOOP = {"lane": "async", "slots": 50}
THREADS = {"lane": "threads t", "slots": 50}
NAP = HEAD + "@task\nasync def nap(): await asyncio.sleep(60)\n"


def reports(executor: DrivenExecutor, numbers: list[int]) -> dict[int, Report]:
    """How each of these runs ended, whatever their order."""
    found: dict[int, Report] = {}
    while len(found) < len(numbers):
        message = executor.receive(5)
        if message.kind is Kind.FINISHED:
            found[message.number] = as_report(message.body)
    assert set(found) == set(numbers)
    return found


def spin(seconds: float) -> None:
    """Let so much time pass: a signal is to come at a certain moment."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_what_a_run_sets_in_context_variables_does_not_reach_the_one_that_begins_when_it_ends(executor: DrivenExecutor) -> None:
    source = HEAD + "v = ContextVar('v', default=0)\n@task\nasync def t(n):\n    seen = v.get()\n    v.set(n)\n    return seen\n"
    executor.load(source, lane="async", slots=1)
    numbers = [executor.start(params={"n": n}) for n in range(1, 20)]
    assert {codec.loads(report["result"]) for report in reports(executor, numbers).values()} == {0}


@pytest.mark.parametrize("lane", [LOOP, THREADS], ids=["async", "threads"])
def test_a_cancel_that_comes_just_as_its_run_begins_stops_it(lane: dict[str, object]) -> None:
    """Given the first run of its kind, for which modules are imported, when it is cancelled in that moment, then it is stopped at once."""
    body = "async def t(): await asyncio.sleep(60)\n" if lane is LOOP else "def t():\n    while True: time.sleep(0.01)\n"
    dice = random.Random(4)
    for _ in range(12):
        executor = DrivenExecutor()
        try:
            beside = "def b(): time.sleep(60)" if lane is LOOP else "async def b(): await asyncio.sleep(60)"
            executor.load(HEAD + "@task\n" + beside, "b", **(THREADS if lane is LOOP else LOOP))
            executor.load(HEAD + "@task\n" + body, **lane)
            executor.start("b")
            number = executor.start()
            spin(dice.uniform(0, 0.004))
            executor.send(Kind.CANCEL, number, why="cancel", interrupt=True)
            assert executor.finished(number, 5)["reason"] == "cancelled"
        finally:
            executor.process.kill()
            assert executor.close() == ""


def test_no_run_is_lost_when_signals_come_while_messages_are_read(executor: DrivenExecutor) -> None:
    """Given many frames of runs, when signals make the executor read in the midst of its reading, then every run is answered."""
    executor.load(HEAD + "@task\nasync def t(n):\n    await asyncio.sleep(0)\n    return n\n", **LOOP)
    executor.load(NAP, "nap", **LOOP)
    executor.start("nap")
    dice, encoder, numbers, answered = random.Random(5), Encoder(), list[int](), 0
    for turn in range(600):
        fresh = [executor.number() for _ in range(dice.randrange(1, 30))]
        runs = [Message(Kind.RUN, number, [executor.index("t", 1), "r", codec.dumps({"n": number})]) for number in fresh]
        numbers += fresh
        executor.socket.setblocking(True)
        executor.socket.sendall(encoder.frames(runs))
        kind = dice.choice((Kind.CANCEL, Kind.YIELD))
        executor.send(kind, dice.choice(numbers[-60:]), why="cancel", interrupt=True)
        spin(dice.uniform(0, 0.001))
        if turn % 15 == 14:
            for number, report in reports(executor, numbers[answered:]).items():
                assert report["outcome"] != "succeeded" or codec.loads(report["result"]) == number
            answered = len(numbers)


def test_a_coroutine_that_is_struck_as_it_ends_is_answered(executor: DrivenExecutor) -> None:
    body = "    end = time.monotonic() + 0.01\n    while time.monotonic() < end: pass\n    raise ValueError('x')\n"
    executor.load(HEAD + "@task\nasync def t():\n    await asyncio.sleep(0)\n" + body, **LOOP)
    executor.load(NAP, "nap", **LOOP)
    executor.start("nap")
    dice = random.Random(6)
    for _ in range(150):
        number = executor.start()
        spin(0.005)
        executor.send(Kind.CANCEL, number, why="cancel", interrupt=True)
        spin(max(0.0, dice.gauss(0.0055, 0.0006)))
        executor.send(Kind.CANCEL, number, why="cancel", interrupt=True)
        reports(executor, [number])


def test_what_a_run_forks_off_does_nothing_of_what_waits_for_its_parent(executor: DrivenExecutor, tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    executor.load(HEAD + "@task\ndef t():\n    return bool(os.fork())\n")
    executor.load(HEAD + "@task\ndef q(path, n):\n    open(path, 'a').write(f'{n}\\n')\n", "q")
    numbers = [executor.number() for _ in range(30)]
    orders = [[executor.index("q", 1), "r", codec.dumps({"path": str(path), "n": number})] for number in numbers]
    orders[0] = [executor.index("t", 1), "r", b""]
    runs = [Message(Kind.RUN, number, order) for number, order in zip(numbers, orders, strict=True)]
    executor.socket.sendall(Encoder().frames(runs))
    found = reports(executor, numbers)
    assert codec.loads(found[numbers[0]]["result"]) is True
    executor.close()  # the child has gone, too: its end of stderr is closed
    assert Counter(path.read_text().split()) == {str(number): 1 for number in numbers[1:]}


def test_an_on_unload_that_does_not_return_ends_the_process_and_says_where_it_was(executor: DrivenExecutor) -> None:
    executor.load(HEAD + "class t(Task):\n    def execute(self): return 1\n    def on_unload(self): time.sleep(3600)\n")
    executor.run()
    executor.send(Kind.UNLOAD, task="t", version=1)
    assert executor.process.wait(10) == 1
    assert "in on_unload" in executor.close()
