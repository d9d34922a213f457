"""Runs that are executed in the process of the test."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from taskq import InvalidInput, NotFound, RunFailed, Task, TaskContext, task
from taskq.testing import Fleet

LOG = logging.getLogger("shop")


@task(timeout="2m", labels={"team": "shop"})
def price(amount: int, discount: float = 0.0) -> float:
    """What somebody pays."""
    print(f"{amount} less {discount}")
    return amount * (1 - discount)


@task
def refuse(why: str) -> None:
    raise ValueError(why)


@task
async def fetch(ctx: TaskContext, url: str) -> dict[str, Any]:
    await asyncio.sleep(0)
    ctx.log.info("fetched %s", url)
    return {"url": url, "run": ctx.run, "attempt": ctx.attempt}


@task
def in_days(day: date) -> int:
    return day.toordinal() - date(2026, 1, 1).toordinal()


class Counter(Task[[int], int]):
    """Counts."""

    instances = 0
    unloaded = 0

    def __init__(self) -> None:
        Counter.instances += 1
        self.total = 0

    def execute(self, by: int = 1) -> int:
        self.total += by
        self.ctx.log.info("counted in %s", self.ctx.task)
        return self.total

    def on_unload(self) -> None:
        Counter.unloaded += 1


def test_a_run_is_executed_and_its_result_is_there(taskq_fleet: Fleet) -> None:
    run = taskq_fleet.run(price, amount=10, discount=0.5)
    assert (run.result, run.status, run.reason, run.attempt, run.version, run.trigger) == (5.0, "succeeded", None, 1, 1, "client")
    assert run.params == {"amount": 10, "discount": 0.5}
    assert run.exception is None
    assert repr(run) == f"<run {run.id[:8]} of price(amount=10, discount=0.5): succeeded>"


def test_positional_arguments_are_bound_as_a_call_would_bind_them(taskq_fleet: Fleet) -> None:
    assert taskq_fleet.run(price, 10, 0.5).result == 5.0


@pytest.mark.parametrize(
    ("params", "message"),
    [({"amount": "ten"}, "amount"), ({}, "amount"), ({"amount": 1, "colour": "red"}, "colour")],
)
def test_parameters_are_validated_as_a_client_does(taskq_fleet: Fleet, params: dict[str, Any], message: str) -> None:
    taskq_fleet.register(price)
    with pytest.raises(InvalidInput, match=message):
        taskq_fleet.run("price", **params)
    assert taskq_fleet.client.runs() == []


def test_annotations_that_are_no_plain_json_are_converted(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(in_days)
    assert taskq_fleet.run("in_days", day="2026-02-01").result == 31


def test_what_the_task_raises_is_raised_here_and_shows_its_own_frames_only(taskq_fleet: Fleet) -> None:
    with pytest.raises(ValueError, match="too cheap") as caught:
        taskq_fleet.run(refuse, why="too cheap")
    shown = [entry.name for entry in caught.traceback.filter(caught)]
    assert shown == ["test_what_the_task_raises_is_raised_here_and_shows_its_own_frames_only", "refuse"]


def test_a_failed_attempt_can_be_looked_at(taskq_fleet: Fleet) -> None:
    run = taskq_fleet.attempt(refuse, why="too cheap")
    assert (run.status, run.reason, run.result) == ("failed", "error", None)
    assert isinstance(run.exception, ValueError)
    assert run.error is not None and run.error.splitlines()[-1] == "ValueError: too cheap"
    assert [attempt["outcome"] for attempt in run.attempts] == ["error"]
    frames = [line for line in run.error.splitlines() if line.strip().startswith("File")]
    assert len(frames) == 1 and frames[0].endswith("in refuse")


def test_async_tasks_run(taskq_fleet: Fleet) -> None:
    run = taskq_fleet.run(fetch, url="https://example.org")
    assert run.result == {"url": "https://example.org", "run": run.id, "attempt": 1}


def test_connections_of_async_tasks_may_outlive_a_run(taskq_fleet: Fleet) -> None:
    loops = []

    @task
    async def remember() -> None:
        loops.append(asyncio.get_running_loop())

    taskq_fleet.run(remember)
    taskq_fleet.run(remember)
    assert loops[0] is loops[1] and not loops[0].is_closed()
    taskq_fleet.close()
    assert loops[0].is_closed()


@pytest.mark.parametrize("kind", [price, fetch])
def test_a_run_within_a_running_loop_has_a_thread_of_its_own(taskq_fleet: Fleet, kind: Any) -> None:
    threads = []

    @task
    def sync() -> None:
        threads.append(threading.current_thread())
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    async def main() -> None:
        taskq_fleet.run(fetch, url="x")
        taskq_fleet.run(sync)

    asyncio.run(main())
    assert threads[0] is not threading.main_thread() and not threads[0].is_alive()


def test_a_class_has_one_instance_a_version_that_is_unloaded_in_the_end() -> None:
    Counter.instances = Counter.unloaded = 0
    with Fleet() as fleet:
        assert [fleet.run(Counter, by=2).result for _ in range(3)] == [2, 4, 6]
        assert fleet.run("counter").logs()[0]["text"] == "counted in counter"
        assert (Counter.instances, Counter.unloaded) == (1, 0)
    assert Counter.unloaded == 1


def test_what_is_printed_and_logged_is_the_runs_log_and_still_seen(
    taskq_fleet: Fleet, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    @task
    def speak() -> None:
        print("one")
        print("two", file=sys.stderr)
        LOG.info("three")
        LOG.debug("nobody hears")
        print("four", end="")

    level = logging.getLogger().level
    run = taskq_fleet.run(speak)
    assert [(line["level"], line["text"]) for line in run.logs()] == [
        ("STDOUT", "one"), ("STDERR", "two"), ("INFO", "three"), ("STDOUT", "four"),
    ]  # fmt: skip
    assert tuple(capsys.readouterr()) == ("one\nfour", "two\n")
    assert [record.message for record in caplog.records] == ["three"]
    assert logging.getLogger().level == level


def test_the_context_is_that_of_the_run(taskq_fleet: Fleet) -> None:
    seen = []

    @task(queue="slow", timeout="1m")
    def look(ctx: TaskContext) -> None:
        assert TaskContext.current() is ctx
        seen.append(ctx)

    run = taskq_fleet.run(look)
    (ctx,) = seen
    assert (ctx.run, ctx.task, ctx.version, ctx.attempt, ctx.queue, ctx.cause) == (run.id, "look", 1, 1, "slow", None)
    assert TaskContext.current() is None


@pytest.mark.parametrize(
    ("result", "reason"), [(object(), "result_not_serialisable"), ({1, 2}, "result_not_serialisable"), ("x" * 2000, "result_too_large")]
)
def test_results_that_a_worker_could_not_store_fail_the_run(result: Any, reason: str) -> None:
    @task
    def give() -> Any:
        return result

    with Fleet(max_result=1000) as fleet:
        with pytest.raises(RunFailed) as caught:
            fleet.run(give)
        assert caught.value.reason == reason


def test_patches_hold_in_the_task_that_runs(taskq_fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(sys.modules[__name__], "LOG", type("Log", (), {"info": lambda self, text: heard.append(text)})())

    @task
    def speak() -> None:
        LOG.info("patched")

    taskq_fleet.run(speak)
    assert heard == ["patched"]


def test_a_run_leaves_the_folder_the_streams_and_the_handlers_as_they_were(taskq_fleet: Fleet, tmp_path: Path) -> None:
    def state() -> tuple[object, ...]:
        handlers = list(logging.getLogger().handlers), signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGALRM)
        return Path.cwd(), sys.stdout, sys.stderr, handlers, threading.active_count()

    before = state()

    @task
    def roam() -> None:
        os.chdir(tmp_path)
        sys.stdout = sys.__stdout__  # what a careless task may do

    taskq_fleet.run(roam)
    assert state() == before


def test_sys_exit_is_the_tasks_failure_and_ctrl_c_is_not(taskq_fleet: Fleet) -> None:
    @task
    def leave() -> None:
        sys.exit(3)

    @task
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert taskq_fleet.attempt(leave).error.splitlines()[-1] == "SystemExit: 3"  # type: ignore[union-attr]  # it has one
    with pytest.raises(SystemExit):
        taskq_fleet.run(leave)
    with pytest.raises(KeyboardInterrupt):
        taskq_fleet.attempt(interrupt)
    with pytest.raises(pytest.fail.Exception, match="stop here"):
        taskq_fleet.fail(leave, pytest.fail.Exception("stop here"))
        taskq_fleet.attempt(leave)
    assert [run.status for run in taskq_fleet.client.runs()] == ["failed"] * 4


def test_a_task_that_is_not_registered_is_not_found_by_name(taskq_fleet: Fleet) -> None:
    with pytest.raises(NotFound, match="there is no task price"):
        taskq_fleet.run("price", amount=1)


def test_options_of_an_enqueue_hold(taskq_fleet: Fleet) -> None:
    first = taskq_fleet.options(key="order-7").run(price, amount=1)
    again = taskq_fleet.options(key="order-7").run(price, amount=1)
    assert (again.id, again.deduplicated, again.result) == (first.id, True, 1.0)
    with pytest.raises(InvalidInput, match=r"due later.*fleet\.clock"):
        taskq_fleet.options(in_="1h").run(price, amount=1)


def test_a_task_may_run_another_one_and_each_has_its_own_log(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(price)

    @task(timeout="1m")
    def order(amount: int) -> float:
        print("before")
        paid: float = taskq_fleet.client.enqueue(price, amount=amount).wait(10)
        LOG.info("after")
        return paid

    run = taskq_fleet.run(order, amount=3)
    assert run.result == 3.0
    assert [line["text"] for line in run.logs()] == ["before", "after"]
    (inner,) = taskq_fleet.client.runs("price")
    assert [line["text"] for line in inner.logs()] == ["3 less 0.0"]


def test_a_subprocess_of_a_task_writes_where_the_test_does(taskq_fleet: Fleet, capfd: pytest.CaptureFixture[str]) -> None:
    @task
    def shell() -> None:
        subprocess.run([sys.executable, "-c", "print('from below')"], check=True)

    taskq_fleet.run(shell)
    assert capfd.readouterr().out == "from below\n"
