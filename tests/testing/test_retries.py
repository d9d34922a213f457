"""The kit retries as workers do; delays pass by its clock, or not at all where a run is asked for its end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from taskq import Client, Retry, RunFailed, TaskContext, TaskRetired, task
from taskq.testing import Fleet


class Flaky(Exception):
    """What is worth another attempt."""


@task(retry=Retry(max=2, delay="1h", max_delay="10h", jitter=0, on=Flaky))
def fetch(ctx: TaskContext, good_from: int = 1, broken: bool = False) -> int:
    if broken:
        raise ValueError("for ever")
    if ctx.attempt < good_from:
        raise Flaky(f"attempt {ctx.attempt}")
    return ctx.attempt


@task(retry=Retry(max=1))
def poll(ctx: TaskContext, ready: bool) -> str:
    if not ready:
        ctx.retry(in_="1m", error="not ready")
    return "ready"


def test_a_run_is_tried_to_its_end_without_waiting(taskq_fleet: Fleet) -> None:
    run = taskq_fleet.run(fetch, good_from=3)
    assert run.result == 3
    assert [(item["outcome"], item["error"]) for item in run.attempts] == [
        ("error", f"{__name__}.Flaky: attempt 1"),
        ("error", f"{__name__}.Flaky: attempt 2"),
        ("succeeded", None),
    ]
    assert "attempt 1 failed (error); the next one in 3.6e+03 s" in run.logs()[0]["text"]


def test_the_last_failure_is_raised_as_it_was(taskq_fleet: Fleet) -> None:
    with pytest.raises(Flaky, match="attempt 3"):
        taskq_fleet.run(fetch, good_from=9)
    run = taskq_fleet.attempt(fetch, broken=True)
    assert (run.attempt, type(run.exception)) == (1, ValueError)


def test_delays_pass_by_the_clock(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(fetch)
    taskq_fleet.clock.set("2030-01-01T00:00:00+00:00")
    run = Client().enqueue(fetch, good_from=3)
    assert taskq_fleet.drain() == []
    assert run.refresh().status == "retrying"
    assert str(run.due_at).startswith("2030-01-01T01:00:00.00")
    assert [waiting.id for waiting in taskq_fleet.enqueued(fetch)] == [run.id]
    taskq_fleet.clock.advance(timedelta(minutes=59), drain=True)
    assert run.refresh().attempt == 1
    taskq_fleet.clock.advance(timedelta(minutes=2), drain=True)
    assert (run.refresh().status, run.attempt) == ("retrying", 2)
    taskq_fleet.clock.advance(timedelta(hours=2), drain=True)
    assert (run.refresh().status, run.result) == ("succeeded", 3)


def test_who_waits_for_a_run_waits_for_its_retries(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(fetch)
    assert Client().enqueue(fetch, good_from=2).wait() == 2


def test_a_planned_failure_is_retried(taskq_fleet: Fleet) -> None:
    taskq_fleet.fail(fetch, Flaky("planned"))
    assert taskq_fleet.run(fetch).result == 2
    taskq_fleet.fail(fetch, OSError("planned"))
    with pytest.raises(OSError, match="planned"):
        taskq_fleet.run(fetch)


def test_a_run_that_asks_for_another_attempt_gets_it(taskq_fleet: Fleet) -> None:
    with pytest.raises(RunFailed, match="its retries are used up"):
        taskq_fleet.run(poll, ready=False)
    run = taskq_fleet.attempt(poll, ready=False)
    assert [(item["outcome"], item["error"]) for item in run.attempts[:1]] == [("error", "not ready")]
    assert "its retries are used up (max=1); not ready" in (run.error or "")


def test_a_failed_run_is_run_again_by_hand(taskq_fleet: Fleet) -> None:
    run = taskq_fleet.attempt(fetch, broken=True)
    assert run.status == "failed"
    run.retry()
    assert (run.status, run.attempt) == ("queued", 1)
    (again,) = taskq_fleet.drain(check=False)
    assert (again.id, again.status, again.attempt) == (run.id, "failed", 2)


def test_retiring_a_task_cancels_a_run_that_waits_for_its_next_attempt(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(fetch)
    run = Client().enqueue(fetch, good_from=3)
    taskq_fleet.drain()
    assert run.refresh().status == "retrying"
    taskq_fleet.registry.retire("fetch")
    assert run.refresh().status == "cancelled"
    with pytest.raises(TaskRetired):
        run.retry()
