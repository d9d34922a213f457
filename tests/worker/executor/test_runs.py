"""Runs in an executor: outcomes, context, arguments, results, log."""

from __future__ import annotations

import os
import select

import pytest
from support.executor import DrivenExecutor

from taskq.registry import codec
from taskq.worker.link.protocol import Kind

HEAD = "from taskq import task, TaskContext\n"


def body(text: str, signature: str = "def t():") -> str:
    return HEAD + f"@task\n{signature}\n" + "".join(f"    {line}\n" for line in text.splitlines())


def test_a_run_gets_its_parameters_and_its_context(executor: DrivenExecutor) -> None:
    executor.load(
        body(
            "return [ctx.run, ctx.task, ctx.version, ctx.attempt, ctx.queue, ctx.cause, region, 29 < ctx.remaining() <= 30]",
            "def t(ctx: TaskContext, region='eu'):",
        ),
        context="ctx",
    )
    ended = executor.run(params={"region": "us"}, run="r1", attempt=2, cause="c", queue="q")
    assert codec.loads(ended["result"]) == ["r1", "t", 1, 2, "q", "c", "us", True]
    assert (ended["outcome"], ended["reason"]) == ("succeeded", None)
    assert ended["ms"] > 0


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("return t.function(1)", "TypeError: t() takes 0 positional arguments but 1 was given"),
        ("def deep(): deep()\ndeep()", "RecursionError: maximum recursion depth exceeded"),
        ("class E(Exception):\n    def __str__(self): raise RuntimeError('no text')\nraise E()", "<exception str() failed>"),
    ],
)
def test_whatever_it_raises_is_its_outcome(executor: DrivenExecutor, text: str, error: str) -> None:
    executor.load(body(text))
    ended = executor.run()
    assert (ended["outcome"], ended["reason"], ended["result"]) == ("failed", "error", None)
    assert error in ended["error"]
    assert "tasks.py" in ended["traceback"]
    assert "worker/executor" not in ended["traceback"]
    executor.load(body("return 1"), version=2)
    assert executor.run(version=2)["outcome"] == "succeeded"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("return {1, 2}", "result_not_serialisable"),
        ("return object()", "result_not_serialisable"),
        ("a = []; a.append(a); return a", "result_not_serialisable"),
        ("return 2**64", "result_not_serialisable"),
        ("return '\\ud800'", "result_not_serialisable"),
        ("class D(dict):\n    def items(self): raise ZeroDivisionError\nreturn D(a=1)", "result_not_serialisable"),
        ("class R:\n    def __repr__(self): raise ZeroDivisionError\nreturn R()", "result_not_serialisable"),
        ("return bytes(2**20)", "result_too_large"),
        ("return bytes(100 * 2**20)", "result_too_large"),
    ],
)
def test_a_result_that_cannot_be_kept_is_named(executor: DrivenExecutor, text: str, reason: str) -> None:
    executor.load(body(text))
    ended = executor.run()
    assert (ended["outcome"], ended["reason"], ended["result"]) == ("failed", reason, None)
    assert ended["error"].startswith("the result ")
    assert "InvalidInput" not in ended["error"]


def test_a_result_larger_than_a_frame_fails_the_run_and_not_the_executor(executor: DrivenExecutor) -> None:
    executor.load(body("return bytes(64 * 2**20)"), max_result=2**30)
    assert executor.run()["reason"] == "result_too_large"


def test_annotations_that_ask_for_it_get_converted_values(executor: DrivenExecutor) -> None:
    source = "from datetime import date\nfrom taskq import task\n@task\ndef t(day: date): return [type(day).__name__, day.year]\n"
    executor.load(source, convert=True)
    assert codec.loads(executor.run(params={"day": "2026-11-22"})["result"]) == ["date", 2026]
    ended = executor.run(params={"day": "never"})
    assert (ended["outcome"], ended["reason"]) == ("failed", "invalid_parameters")
    assert "day" in ended["error"]


def test_async_runs_share_one_loop_that_outlives_them(executor: DrivenExecutor) -> None:
    text = "await asyncio.sleep(0)\nreturn [id(asyncio.get_running_loop()), TaskContext.current().run]"
    source = "import asyncio\n" + body(text, "async def t():")
    executor.load(source)
    first, second = (codec.loads(executor.run(run=run)["result"]) for run in ("a", "b"))
    assert first[0] == second[0]
    assert [first[1], second[1]] == ["a", "b"]


@pytest.mark.parametrize("text", ["import sys; sys.exit(3)", "raise ValueError('no')", "raise asyncio.CancelledError"])
def test_an_async_run_that_fails_leaves_a_loop_that_works(executor: DrivenExecutor, text: str) -> None:
    executor.load("import asyncio\n" + body(text, "async def t():"))
    executor.load("import asyncio\n" + body("await asyncio.sleep(0)", "async def t():"), version=2)
    for version, outcome in ((1, "failed"), (2, "succeeded"), (1, "failed"), (2, "succeeded")):
        ended = executor.run(version=version)
        assert (ended["outcome"], ended["lines"]) == (outcome, [])
    executor.load(body("import gc; gc.collect()"), version=3)
    assert executor.run(version=3)["lines"] == []
    assert executor.close() == ""


def test_what_an_async_run_leaves_on_the_loop_is_cancelled_with_it(executor: DrivenExecutor) -> None:
    left = "import asyncio\nasync def later():\n    try: await asyncio.sleep(60)\n    finally: print('ended')\n"
    executor.load(left + body("asyncio.create_task(later())\nawait asyncio.sleep(0)", "async def t():"))
    ended = executor.run()
    assert (ended["outcome"], ended["lines"]) == ("succeeded", [["STDOUT", "ended"]])


def test_context_variables_end_with_their_run(executor: DrivenExecutor) -> None:
    executor.load("from contextvars import ContextVar\nv = ContextVar('v', default=0)\n" + body("v.set(v.get() + 1)\nreturn v.get()"))
    assert [codec.loads(executor.run()["result"]) for _ in range(2)] == [1, 1]


def test_print_and_logging_go_to_the_log_in_order(executor: DrivenExecutor) -> None:
    text = """import logging, sys
print("one", 1)
logging.getLogger("mine").info("two %d", 2)
logging.debug("not shown")
ctx.log.warning("three")
print("four\\nfive", end="")
sys.stderr.write("six\\n")
sys.stdout.buffer.write(b" and seven")
try: 1 / 0
except ZeroDivisionError: logging.exception("eight")"""
    executor.load(body(text, "def t(ctx: TaskContext):"), context="ctx")
    lines = executor.run()["lines"]
    assert lines[:4] == [["STDOUT", "one 1"], ["INFO", "two 2", {"logger": "mine"}], ["WARNING", "three"], ["STDOUT", "four"]]
    assert ["STDERR", "six"] in lines
    assert lines[-1] == ["STDOUT", "five and seven"]
    assert lines[-2][0] == "ERROR"
    assert lines[-2][1].startswith("eight\nTraceback")


def test_a_record_that_can_not_be_shown_is_one_line_that_says_where_it_is(executor: DrivenExecutor) -> None:
    executor.load(body("import logging\nlogging.info('%d', 'x')\nprint('on')"))
    record, printed = executor.run()["lines"]
    assert record[0] == "INFO"
    assert record[1].startswith("this record can't be shown (tasks.py:")
    assert "TypeError: %d format" in record[1]
    assert printed == ["STDOUT", "on"]


def test_lines_arrive_while_the_run_goes_on(executor: DrivenExecutor) -> None:
    executor.load(body("import time\nprint('begun')\ntime.sleep(60)"))
    number = executor.start()
    assert executor.first_line(number) == "begun"
    executor.send(Kind.CANCEL, number, why="cancel", interrupt=True)
    assert executor.finished(number)["reason"] == "cancelled"


def test_a_long_line_is_cut_and_too_many_lines_are_counted(executor: DrivenExecutor) -> None:
    executor.load(body("print('x' * 100_000_000)\nfor n in range(1000): print(n)"), max_log=50)
    lines = [text for _, text in executor.run()["lines"]]
    assert lines[0] == "x" * 8192 + " … 99991808 characters cut off"
    assert lines[1:50] == [str(n) for n in range(49)]
    limit = "the log of a run is limited to 50 lines and 4,194,304 bytes"
    assert lines[50:] == [f"… {limit}: what follows is dropped", f"… 951 more lines were dropped: {limit}"]


def test_output_outside_of_a_run_goes_to_stderr(executor: DrivenExecutor) -> None:
    executor.load("print('at import')\nimport logging\nlogging.warning('logged at import')\n" + body("print('in a run')"))
    assert executor.run()["lines"] == [["STDOUT", "in a run"]]
    assert executor.close() == "at import\nWARNING root: logged at import\n"


def test_a_finaliser_that_prints_and_threads_that_print_do_no_harm(executor: DrivenExecutor) -> None:
    text = """import gc, threading
class Loud:
    def __del__(self): print("gone")
def work():
    for n in range(2000):
        a = Loud(); a.me = a
        print(n)
threads = [threading.Thread(target=work) for _ in range(3)]
gc.set_threshold(7)
for each in threads: each.start()
work()
for each in threads: each.join()
gc.collect()
gc.set_threshold(700)"""
    executor.load(body(text), max_log=100_000)
    lines = [text for _, text in executor.run()["lines"]]
    # Two prints at one moment may share a line, as on any stdout; nothing of them is lost.
    assert len(lines) == 16000
    assert sum(map(len, lines)) == 8000 * len("gone") + 4 * sum(len(str(n)) for n in range(2000))


def test_what_a_task_forks_is_no_executor(executor: DrivenExecutor) -> None:
    text = """import multiprocessing, os
def child(): print("from the child")
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
pid = os.fork()
if pid: return [process.exitcode, os.waitpid(pid, 0)[1]]
return "the child returns into the executor's code" """
    executor.load(body(text))
    ended = executor.run()
    assert (ended["lines"], codec.loads(ended["result"])) == ([], [0, 0])
    assert executor.run()["outcome"] == "succeeded"
    assert executor.close() == "from the child\n" * 2


def test_task_code_sees_no_link_no_terminal_and_ignorable_signals(executor: DrivenExecutor) -> None:
    text = """import os, signal, subprocess, sys
os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGTERM)
fds = subprocess.run(["ls", "/proc/self/fd"], close_fds=False, capture_output=True, text=True, check=True).stdout.split()
ignored = subprocess.run(["grep", "SigIgn", "/proc/self/status"], capture_output=True, text=True, check=True).stdout.split()[1]
return [os.getsid(0) == os.getpid(), sys.stdin.read(), sorted(fds), int(ignored, 16) >> (signal.SIGTERM - 1) & 1, sys.argv]"""
    executor.load(body(text))
    leader, stdin, descriptors, ignored, argv = codec.loads(executor.run()["result"])
    assert leader
    assert stdin == ""
    assert descriptors == ["0", "1", "2", "3"]  # 3 is the folder that ls reads
    assert not ignored
    assert argv == ["taskq-executor"]


def test_the_executor_dies_when_its_supervisor_is_killed() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        driven = DrivenExecutor()
        os.write(writing, str(driven.pid).encode())
        os._exit(0)  # without closing anything in order: as kill -9 does
    os.close(writing)
    os.waitpid(pid, 0)
    executor = int(os.read(reading, 20))
    os.close(reading)
    try:
        descriptor = os.pidfd_open(executor)
    except ProcessLookupError:
        return
    ended = select.select([descriptor], [], [], 5)[0]
    os.close(descriptor)
    assert ended
