"""Runs in progress together in one executor: async ones on its loop, others on threads."""

from __future__ import annotations

import pytest
from support.executor import DrivenExecutor

from taskq.registry import codec
from taskq.worker.link.protocol import Encoder, Kind, Message, as_report

HEAD = "import asyncio, logging, os, threading, time\nfrom taskq import task, TaskContext\n"
LOOP = {"lane": "async", "slots": 50}
THREADS = {"lane": "threads t", "slots": 50}
NAP = HEAD + "@task\nasync def t(n=0):\n    print('begun', n)\n    await asyncio.sleep(60)\n"
THREADED_NAP = HEAD + "@task\ndef t(n=0):\n    print('begun', n)\n    while True: time.sleep(0.01)\n"
NOOP = "from taskq import task\n@task\ndef noop(): return 1\n"
LANES = pytest.mark.parametrize(("source", "lane"), [(NAP, LOOP), (THREADED_NAP, THREADS)], ids=["async", "threads"])


def outcomes(executor: DrivenExecutor, numbers: list[int]) -> tuple[dict[int, dict[str, object]], dict[int, list[str]]]:
    """The reports of these runs, whatever their order, and the text of their logs."""
    reports: dict[int, dict[str, object]] = {}
    lines: dict[int, list[str]] = {number: [] for number in numbers}
    while len(reports) < len(numbers):
        message = executor.receive()
        if message.kind is Kind.FINISHED:
            assert message.number not in reports
            reports[message.number] = as_report(message.body)
        else:
            assert message.number not in reports, "lines after the outcome"
            lines[message.number] += [line[2] for line in message.body["lines"]]
    assert set(reports) == set(numbers)
    return reports, lines


def begun(executor: DrivenExecutor, count: int) -> None:
    """Wait for the first line of so many runs."""
    seen = 0
    while seen < count:
        message = executor.receive()
        assert message.kind is Kind.LOG
        seen += len(message.body["lines"])


@pytest.mark.parametrize(("slots", "most"), [(50, 50), (3, 3)])
@pytest.mark.parametrize("kind", ["async", "threads t"])
def test_as_many_are_in_progress_as_there_are_slots_and_no_more(executor: DrivenExecutor, kind: str, slots: int, most: int) -> None:
    """Each run waits until as many as the slots allow are in progress, and says how many there were."""
    source = HEAD + "inside, most = 0, 0\nlock = threading.Lock()\n@task\n"
    source += "async def t(wanted):\n" if kind == "async" else "def t(wanted):\n"
    source += "    global inside, most\n    with lock:\n        inside += 1\n        most = max(most, inside)\n"
    source += "    while most < wanted: " + ("await asyncio.sleep(0)\n" if kind == "async" else "time.sleep(0.001)\n")
    source += "    with lock: inside -= 1\n    return most\n"
    executor.load(source, lane=kind, slots=slots)
    reports, _ = outcomes(executor, [executor.start(params={"wanted": most}) for _ in range(100)])
    assert {codec.loads(report["result"]) for report in reports.values()} == {most}


@LANES
def test_each_is_stopped_by_itself(executor: DrivenExecutor, source: str, lane: dict[str, object]) -> None:
    executor.load(source, **lane)
    numbers = [executor.start(params={"n": n}) for n in range(5)]
    begun(executor, 5)
    for number in (numbers[3], numbers[1]):
        executor.send(Kind.CANCEL, number, why="timeout", interrupt=True)
        report = executor.finished(number, 5)
        assert (report["outcome"], report["reason"], report["error"]) == ("failed", "timeout", "the run exceeded its timeout of 30 s")
    with pytest.raises(TimeoutError):
        executor.receive(timeout=0.1)
    for number in (numbers[0], numbers[2], numbers[4]):
        executor.send(Kind.CANCEL, number, why="shutdown", interrupt=True)
    reports, _ = outcomes(executor, [numbers[0], numbers[2], numbers[4]])
    assert {str(report["outcome"]) for report in reports.values()} == {"released"}
    executor.load(NOOP, "noop")
    assert executor.run("noop")["outcome"] == "succeeded"


@pytest.mark.parametrize("kind", ["async", "threads t"])
def test_what_each_prints_logs_and_is_told_is_its_own(executor: DrivenExecutor, kind: str) -> None:
    body = """    print("a", n, end=" ")
    PAUSE
    logging.getLogger("mine").info("b %d", n)
    PAUSE
    ctx.log.warning("c %d", n)
    print("still", n)
    assert TaskContext.current() is ctx
    return ctx.run
"""
    pause = "await asyncio.sleep(0.001)" if kind == "async" else "time.sleep(0.001)"
    source = HEAD + f"@task\n{'async ' * (kind == 'async')}def t(ctx: TaskContext, n: int):\n" + body.replace("PAUSE", pause)
    executor.load(source, context="ctx", lane=kind, slots=50)
    numbers = [executor.start(params={"n": n}, run=f"r{n}") for n in range(200)]
    reports, lines = outcomes(executor, numbers)
    for n, number in enumerate(numbers):
        assert codec.loads(reports[number]["result"]) == f"r{n}"
        assert lines[number] == [f"b {n}", f"c {n}", f"a {n} still {n}"]


def test_context_variables_and_what_a_thread_or_task_is_given_belong_to_one_run(executor: DrivenExecutor) -> None:
    source = HEAD + (
        "from contextvars import ContextVar\nvariable = ContextVar('variable', default=0)\n@task\nasync def t(n: int):\n"
        "    seen = variable.get()\n    variable.set(n)\n"
        "    async def child(): print('child', n, variable.get())\n"
        "    await asyncio.gather(child(), asyncio.to_thread(print, 'thread', n))\n    return seen\n"
    )
    executor.load(source, **LOOP)
    numbers = [executor.start(params={"n": n}) for n in range(1, 30)]
    reports, lines = outcomes(executor, numbers)
    assert {codec.loads(report["result"]) for report in reports.values()} == {0}
    for n, number in enumerate(numbers, 1):
        assert sorted(lines[number]) == [f"child {n} {n}", f"thread {n}"]


def test_what_a_coroutine_leaves_on_the_loop_ends_with_its_run_and_nothing_else_does(executor: DrivenExecutor) -> None:
    source = HEAD + (
        "async def later():\n    try: await asyncio.sleep(60)\n    finally: print('ended')\n@task\nasync def t(leave: bool):\n"
        "    if leave:\n        asyncio.create_task(later())\n        await asyncio.sleep(0)\n        return\n"
        "    await asyncio.gather(asyncio.create_task(asyncio.sleep(0.2)), later_or_not())\n    return 'whole'\n"
        "async def later_or_not(): await asyncio.sleep(0.2)\n"
    )
    executor.load(source, **LOOP)
    stays = executor.start(params={"leave": False})
    leaves = executor.start(params={"leave": True})
    reports, lines = outcomes(executor, [stays, leaves])
    assert codec.loads(reports[stays]["result"]) == "whole"
    assert (reports[leaves]["outcome"], lines[leaves]) == ("succeeded", ["ended"])


@pytest.mark.parametrize(
    "text", ["raise SystemExit(3)", "raise KeyboardInterrupt", "raise asyncio.CancelledError", "raise ValueError('no')"]
)
@pytest.mark.parametrize("within", ["body", "child"])
def test_whatever_a_coroutine_raises_harms_no_other(executor: DrivenExecutor, text: str, within: str) -> None:
    body = f"    {text}\n" if within == "body" else f"    async def child():\n        {text}\n    await asyncio.create_task(child())\n"
    executor.load(HEAD + "@task\nasync def t(n: int):\n    await asyncio.sleep(0)\n" + body, **LOOP)
    executor.load(HEAD + "@task\nasync def good():\n    await asyncio.sleep(0.05)\n    return 1\n", "good", **LOOP)
    good, bad = [executor.start("good") for _ in range(3)], [executor.start(params={"n": n}) for n in range(3)]
    reports, _ = outcomes(executor, good + bad)
    assert [reports[number]["outcome"] for number in good + bad] == ["succeeded"] * 3 + ["failed"] * 3


def test_a_coroutine_that_keeps_the_loop_is_struck_when_told_again(executor: DrivenExecutor) -> None:
    source = HEAD + "@task\nasync def t():\n    print('begun')\n    await asyncio.sleep(0.3)\n    while True: time.sleep(0.01)\n"
    executor.load(source, **LOOP)
    executor.load(NAP.replace("def t(", "def nap("), "nap", **LOOP)
    blocks, beside = executor.start(), executor.start("nap")
    begun(executor, 2)
    with pytest.raises(TimeoutError):
        executor.receive(timeout=0.5)
    executor.send(Kind.CANCEL, blocks, why="timeout", interrupt=True)
    with pytest.raises(TimeoutError):
        executor.receive(timeout=0.2)
    executor.send(Kind.CANCEL, blocks, why="timeout", interrupt=True)
    assert executor.finished(blocks)["reason"] == "timeout"
    executor.send(Kind.CANCEL, beside, why="cancel", interrupt=True)
    assert executor.finished(beside)["reason"] == "cancelled"


def test_versions_are_loaded_and_dropped_while_runs_are_in_progress(executor: DrivenExecutor) -> None:
    executor.load(NAP, **LOOP)
    number = executor.start()
    begun(executor, 1)
    for version in range(2, 30):
        assert executor.load(HEAD + f"@task\nasync def t(): return {version}\n", version=version, **LOOP)["ok"]
        assert codec.loads(executor.run(version=version)["result"]) == version
        executor.send(Kind.UNLOAD, task="t", version=version)
    executor.send(Kind.CANCEL, number, why="cancel", interrupt=True)
    assert executor.finished(number)["reason"] == "cancelled"


@LANES
def test_a_run_that_must_be_alone_begins_when_nothing_is_in_progress(
    executor: DrivenExecutor, source: str, lane: dict[str, object]
) -> None:
    executor.load(source, **lane)
    executor.load(NOOP, "noop")
    first = executor.start()
    begun(executor, 1)
    alone, behind = executor.start("noop"), executor.start()
    with pytest.raises(TimeoutError):
        executor.receive(timeout=0.2)
    assert executor.page.begun == first
    executor.send(Kind.CANCEL, first, why="cancel", interrupt=True)
    assert executor.finished(first)["reason"] == "cancelled"
    assert executor.finished(alone)["outcome"] == "succeeded"
    executor.send(Kind.YIELD, behind, interrupt=True)
    executor.send(Kind.CANCEL, behind, why="cancel", interrupt=True)
    assert executor.finished(behind)["reason"] == "cancelled"


@LANES
def test_a_drained_executor_finishes_what_is_in_progress_hands_back_the_rest_and_exits(
    executor: DrivenExecutor, source: str, lane: dict[str, object]
) -> None:
    brief = source.replace("await asyncio.sleep(60)", "await asyncio.sleep(0.3)").replace("while True: time.sleep(0.01)", "time.sleep(0.3)")
    executor.load(brief, **{**lane, "slots": 2})
    numbers = [executor.start() for _ in range(4)]
    begun(executor, 2)
    executor.send(Kind.DRAIN, interrupt=True)
    reports, _ = outcomes(executor, numbers)
    assert [reports[number]["outcome"] for number in numbers] == ["succeeded", "succeeded", "released", "released"]
    assert executor.process.wait(5) == 0


def test_what_a_coroutine_forks_is_no_executor(executor: DrivenExecutor) -> None:
    source = HEAD + (
        "@task\nasync def t():\n    pid = os.fork()\n    if pid: return os.waitpid(pid, 0)[1]\n    print('from the child')\n"
        "    return 'the child returns into the executor'\n"
    )
    executor.load(source, **LOOP)
    executor.load(NAP.replace("def t(", "def nap("), "nap", **LOOP)
    beside = executor.start("nap")
    begun(executor, 1)
    report = executor.run()
    assert (codec.loads(report["result"]), report["lines"]) == (0, [])
    executor.send(Kind.CANCEL, beside, why="cancel", interrupt=True)
    assert executor.finished(beside)["reason"] == "cancelled"
    assert executor.close() == "from the child\n"


def test_a_cancel_strikes_its_own_run_on_a_thread_and_no_other(executor: DrivenExecutor) -> None:
    """Given short runs on threads that print, when every third is cancelled at an arbitrary moment, then only those may be stopped."""
    executor.load(HEAD + "@task\ndef t(n: int):\n    for _ in range(300): pass\n    print(n)\n    return n\n", lane="threads t", slots=8)
    stopped, encoder = 0, Encoder()
    for _ in range(60):
        numbers = {executor.number(): n for n in range(40)}
        runs = [Message(Kind.RUN, number, [executor.index("t", 1), "r", codec.dumps({"n": n})]) for number, n in numbers.items()]
        executor.socket.sendall(encoder.frames(runs))
        victims = list(numbers)[::3]
        for victim in victims:
            executor.send(Kind.CANCEL, victim, why="cancel", interrupt=True)
        reports, lines = outcomes(executor, list(numbers))
        for number, n in numbers.items():
            if number not in victims:
                assert codec.loads(reports[number]["result"]) == n
                assert lines[number] == [str(n)]
        stopped += sum(report["reason"] == "cancelled" for report in reports.values())
    assert stopped


def test_the_page_says_what_has_begun_and_what_alone_has_ended(executor: DrivenExecutor) -> None:
    executor.load(NOOP, "noop")
    first = executor.start("noop")
    executor.finished(first)
    assert (executor.page.begun, executor.page.ended) == (first, first)
    executor.load(NAP, **LOOP)
    second, third = executor.start(), executor.start()
    begun(executor, 2)
    assert executor.page.begun == third
    assert executor.page.ended < second
