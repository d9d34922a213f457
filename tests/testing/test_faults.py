"""Failures on purpose."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskq import AsyncClient, Client, InvalidInput, RunFailed, ServerUnreachable, task
from taskq.testing import Fleet

SENT: list[str] = []


@task
def send(to: str) -> str:
    SENT.append(to)
    return to


@pytest.fixture(autouse=True)
def nothing_sent() -> None:
    SENT.clear()


def test_the_next_run_fails_as_told_and_the_one_after_does_not(taskq_fleet: Fleet) -> None:
    error = ConnectionError("the mail server is down")
    taskq_fleet.fail(send, error)
    with pytest.raises(ConnectionError) as caught:
        taskq_fleet.run(send, to="ada")
    assert caught.value is error
    assert SENT == []
    assert taskq_fleet.run(send, to="ada").result == "ada"


def test_a_failure_is_recorded_like_one_of_the_code(taskq_fleet: Fleet) -> None:
    taskq_fleet.fail("send", KeyError, times=2)
    for _ in range(2):
        run = taskq_fleet.attempt(send, to="ada")
        assert (run.status, run.reason, type(run.exception)) == ("failed", "error", KeyError)
        assert str(run.error).splitlines()[-1] == "KeyError"
    assert taskq_fleet.attempt(send, to="ada").status == "succeeded"


def test_failures_come_in_the_order_in_which_they_were_planned(taskq_fleet: Fleet) -> None:
    taskq_fleet.fail(send, OSError())
    taskq_fleet.time_out(send)
    taskq_fleet.lose(send, times=3)
    taskq_fleet.fail(send, ValueError())
    assert [taskq_fleet.attempt(send, to="ada").reason for _ in range(4)] == ["error", "timeout", "poison", "error"]


def test_invalid_parameters_come_before_a_planned_failure(taskq_fleet: Fleet) -> None:
    taskq_fleet.fail(send, OSError())
    taskq_fleet.register(send)
    with pytest.raises(InvalidInput):
        taskq_fleet.run("send")
    assert isinstance(taskq_fleet.attempt(send, to="ada").exception, OSError)


def test_a_timeout_on_purpose_strikes_before_the_first_line(taskq_fleet: Fleet) -> None:
    @task
    async def fetch() -> None:
        SENT.append("fetched")

    for each in (send, fetch):
        taskq_fleet.time_out(each)
    with pytest.raises(RunFailed, match="failed: timeout"):
        taskq_fleet.run(send, to="ada")
    assert taskq_fleet.attempt(fetch).reason == "timeout"
    assert SENT == []


def test_a_lost_run_goes_on_with_its_next_attempt(taskq_fleet: Fleet) -> None:
    taskq_fleet.lose(send)
    run = taskq_fleet.run(send, to="ada")
    assert [(attempt["attempt"], attempt["outcome"]) for attempt in run.attempts] == [(1, "worker_lost"), (2, "succeeded")]
    assert SENT == ["ada"]


def test_a_run_that_is_lost_when_its_work_is_done_does_it_again(taskq_fleet: Fleet) -> None:
    taskq_fleet.lose(send, done=True)
    assert taskq_fleet.run(send, to="ada").attempt == 2
    assert SENT == ["ada", "ada"]


def test_the_third_loss_is_the_last(taskq_fleet: Fleet) -> None:
    taskq_fleet.lose(send, times=3)
    with pytest.raises(RunFailed, match="failed: poison"):
        taskq_fleet.run(send, to="ada")


def test_a_task_that_must_not_be_repeated_fails_at_its_first_loss(taskq_fleet: Fleet) -> None:
    @task(on_lost="fail")
    def pay() -> None: ...

    taskq_fleet.lose(pay)
    assert taskq_fleet.attempt(pay).reason == "lost"


def test_a_lost_run_is_drained_again(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(send)
    Client().enqueue_many(send, [{"to": "a"}, {"to": "b"}])
    taskq_fleet.lose(send)
    assert [run.result for run in taskq_fleet.drain()] == ["a", "b"]


@pytest.mark.parametrize("times", [0, -1, 1.5, True, 1001])
def test_times_must_be_a_number_of_times(taskq_fleet: Fleet, times: Any) -> None:
    with pytest.raises(InvalidInput, match="times="):
        taskq_fleet.lose(send, times=times)


@pytest.mark.parametrize("error", ["down", None, int])
def test_an_error_must_be_an_exception(taskq_fleet: Fleet, error: Any) -> None:
    with pytest.raises(InvalidInput, match="must be an exception, or its class"):
        taskq_fleet.fail(send, error)


def test_in_an_outage_nothing_answers_and_afterwards_all_is_there(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(send)
    client = Client()
    client.enqueue(send, to="before")

    async def enqueue() -> None:
        async with AsyncClient() as other:
            with pytest.raises(ServerUnreachable):
                await other.enqueue(send, to="lost")

    with taskq_fleet.outage():
        for made in (client, Client()):
            with pytest.raises(ServerUnreachable, match="can't be reached"):
                made.enqueue(send, to="lost")
        asyncio.run(enqueue())
        with pytest.raises(ServerUnreachable):
            taskq_fleet.enqueued()
    client.enqueue(send, to="after")
    assert [run.result for run in taskq_fleet.drain()] == ["before", "after"]


def test_a_task_that_meets_an_outage_fails_by_it(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(send)

    @task
    def relay() -> None:
        with taskq_fleet.outage():
            Client().enqueue(send, to="ada")

    with pytest.raises(ServerUnreachable):
        taskq_fleet.run(relay)
    assert [run.status for run in taskq_fleet.client.runs("relay")] == ["failed"]
