"""What code under test has enqueued: found, asserted, executed."""

from __future__ import annotations

import asyncio
import os
import threading
from unittest.mock import ANY

import pytest

import taskq
from taskq import (
    AsyncClient,
    Client,
    Conflict,
    InvalidInput,
    NotFound,
    Registry,
    ServerUnreachable,
    Settings,
    TaskqError,
    WaitTimeout,
    task,
)
from taskq.registry import clock, connect
from taskq.testing import Fleet

DONE: list[str] = []


@task
def send_mail(to: str, subject: str = "Hello") -> str:
    DONE.append(to)
    return f"{subject}, {to}"


@task(queue="reports")
def report(days: int = 7) -> int:
    return days


@task
def welcome(name: str) -> None:
    with Client() as client:
        client.enqueue(send_mail, to=f"{name}@example.org", subject="Welcome")


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DONE.clear()


@pytest.fixture
def fleet(taskq_fleet: Fleet) -> Fleet:
    taskq_fleet.register(send_mail, report, welcome)
    return taskq_fleet


def test_clients_of_the_code_under_test_find_the_fleet(fleet: Fleet) -> None:
    async def enqueue() -> None:
        async with AsyncClient() as client:
            await client.enqueue(send_mail, to="b")

    Client().enqueue(send_mail, to="a")
    asyncio.run(enqueue())
    Client(settings=Settings(redis_url="redis://nowhere.invalid:1")).enqueue("send_mail", to="c")
    assert [run.params for run in fleet.enqueued()] == [{"to": "a"}, {"to": "b"}, {"to": "c"}]
    assert [row["task"] for row in Registry().list()] == ["report", "send_mail", "welcome"]


def test_what_waits_is_listed_with_its_parameters_oldest_first(fleet: Fleet) -> None:
    client = Client()
    client.enqueue(report, days=1)
    client.enqueue_many(send_mail, [{"to": "a"}, {"to": "b"}])
    client.options(in_="2h").enqueue(report, days=3)
    client.options(in_="1h").enqueue(report, days=2)
    assert [(run.task, run.params, run.status) for run in fleet.enqueued()] == [
        ("report", {"days": 1}, "queued"),
        ("send_mail", {"to": "a"}, "queued"),
        ("send_mail", {"to": "b"}, "queued"),
        ("report", {"days": 2}, "scheduled"),
        ("report", {"days": 3}, "scheduled"),
    ]
    assert [run.params["days"] for run in fleet.enqueued(report)] == [1, 2, 3]
    assert [run.params["to"] for run in fleet.enqueued("send_mail")] == ["a", "b"]


def test_runs_of_a_paused_task_wait_too(fleet: Fleet) -> None:
    fleet.registry.pause("report")
    with pytest.raises(Conflict, match="is the task paused"):
        fleet.run(report)
    Client().enqueue(report, days=1)
    assert fleet.drain() == []
    fleet.assert_enqueued(report, times=2)
    fleet.registry.resume("report")
    assert [run.result for run in fleet.drain()] == [7, 1]


def test_assert_enqueued_compares_parameters_defaults_included(fleet: Fleet) -> None:
    Client().enqueue(send_mail, to="ada@example.org")
    fleet.assert_enqueued(send_mail)
    fleet.assert_enqueued(send_mail, to="ada@example.org", subject="Hello")
    fleet.assert_enqueued("send_mail", times=1, to=ANY)
    fleet.assert_enqueued(report, times=0)
    fleet.assert_enqueued(send_mail, times=0, to="bob@example.org")


def test_assert_enqueued_shows_what_there_is(fleet: Fleet) -> None:
    Client().enqueue(send_mail, to="ada@example.org")
    run = Client().options(in_="1h").enqueue(report, days=3)
    with pytest.raises(AssertionError) as caught:
        fleet.assert_enqueued(send_mail, to="bob@example.org")
    first, second = fleet.enqueued()
    assert str(caught.value).splitlines() == [
        "no run of send_mail(to='bob@example.org') waits; waiting are:",
        f"  <run {first.id[:8]} of send_mail(to='ada@example.org'): queued>",
        f"  <run {second.id[:8]} of report(days=3): scheduled, due {run.due_at}>",
    ]
    with pytest.raises(AssertionError, match=r"^1 run of report\(\) waiting, not 2; waiting are:"):
        fleet.assert_enqueued(report, times=2)
    with pytest.raises(AssertionError, match=r"^no run of send_mail\(to='eve'\) waits, 2 should; waiting are"):
        fleet.assert_enqueued(send_mail, times=2, to="eve")


def test_assert_enqueued_says_where_nothing_waits_or_a_task_is_unknown(fleet: Fleet) -> None:
    with pytest.raises(AssertionError, match=r"no run of report\(\) waits; nothing waits"):
        fleet.assert_enqueued(report)
    with pytest.raises(NotFound, match=r"no task sned_mail in this fleet: register it"):
        fleet.assert_enqueued("sned_mail", times=0)


@pytest.mark.parametrize("times", [None, 0, 2])
def test_assert_enqueued_refuses_a_parameter_that_the_task_does_not_have(fleet: Fleet, times: int | None) -> None:
    with pytest.raises(InvalidInput, match=r"^unknown parameter dyas: report takes days$"):
        fleet.assert_enqueued(report, times=times, dyas=7)


def test_many_runs_are_not_all_shown(fleet: Fleet) -> None:
    Client().enqueue_many(report, [{"days": day} for day in range(1, 31)])
    with pytest.raises(AssertionError, match=r"… and 10 more"):
        fleet.assert_enqueued(report, days=99)


def test_drain_executes_in_order_and_what_comes_of_it(fleet: Fleet) -> None:
    Client().enqueue(report, days=1)
    Client().enqueue(welcome, name="ada")
    Client().enqueue(send_mail, to="first")
    ended = fleet.drain()
    assert [run.task for run in ended] == ["report", "welcome", "send_mail", "send_mail"]
    assert DONE == ["first", "ada@example.org"]
    assert fleet.enqueued() == [] and fleet.drain() == []


def test_drain_with_a_limit_leaves_the_rest(fleet: Fleet) -> None:
    Client().enqueue_many(send_mail, [{"to": str(number)} for number in range(5)])
    assert len(fleet.drain(limit=2)) == 2
    fleet.assert_enqueued(send_mail, times=3)
    assert DONE == ["0", "1"]


def test_drain_raises_the_first_failure_and_leaves_the_rest(fleet: Fleet) -> None:
    Client().enqueue_many(send_mail, [{"to": "a"}, {"to": "b"}, {"to": "c"}])
    fleet.fail(send_mail, OSError("no route"), times=2)
    with pytest.raises(OSError, match="no route"):
        fleet.drain()
    fleet.assert_enqueued(send_mail, times=2)
    assert [(run.status, run.params["to"]) for run in fleet.drain(check=False)] == [("failed", "b"), ("succeeded", "c")]


def test_a_task_that_enqueues_itself_does_not_hang_a_drain(taskq_fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskq.testing.fleet.MOST_ATTEMPTS", 50)

    @task
    def again() -> None:
        Client().enqueue("again")

    taskq_fleet.register(again)
    Client().enqueue("again")
    with pytest.raises(TaskqError, match="50 attempts were made, and runs still wait: does a task enqueue itself"):
        taskq_fleet.drain()
    assert len(taskq_fleet.drain(limit=5)) == 5


def test_a_run_that_no_worker_could_start_is_put_back_and_left(fleet: Fleet) -> None:
    Client().enqueue(send_mail, to="a")
    Client().enqueue(report)
    fleet.redis.hdel("taskq:registry", "send_mail")
    fleet.registry.pause("welcome")  # the fleet's picture of the registry follows its changes
    fleet.redis.incr("taskq:revision", 2)
    assert [run.task for run in fleet.drain()] == ["report"]
    assert [run.task for run in fleet.enqueued()] == ["send_mail"]


def test_waiting_for_a_run_executes_it_and_what_waits_before_it(fleet: Fleet) -> None:
    Client().enqueue(send_mail, to="first")
    assert Client().enqueue(send_mail, to="second").wait(10) == "Hello, second"
    assert DONE == ["first", "second"]

    async def wait() -> str:
        async with AsyncClient() as client:
            run = await client.enqueue(send_mail, to="third")
            return await run.wait(10)

    assert asyncio.run(wait()) == "Hello, third"


def test_waiting_for_what_does_not_come_takes_no_real_time(fleet: Fleet) -> None:
    began = clock.now()
    run = Client().options(in_="90s").enqueue(send_mail, to="later")
    with pytest.raises(WaitTimeout, match="within 60 s"):
        run.wait(60)
    assert 59 <= clock.now() - began <= 70
    assert run.wait(60) == "Hello, later"
    assert 89 <= clock.now() - began <= 100


def test_waiting_for_ever_for_what_never_comes_is_an_error(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskq.testing.fleet._MOST_WAITS", 20)
    fleet.registry.pause("report")
    with pytest.raises(TaskqError, match=r"is waited for, and nothing that could happen would end it: <run \w+ of report"):
        Client().enqueue(report).wait()


def test_a_thread_of_the_code_under_test_may_wait_for_a_run(fleet: Fleet) -> None:
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(Client().enqueue(send_mail, to="a").wait(10)))
    thread.start()
    thread.join()
    assert results == ["Hello, a"]


def test_a_run_that_waits_can_be_cancelled(fleet: Fleet) -> None:
    run = Client().enqueue(report)
    run.cancel()
    assert (run.status, fleet.drain()) == ("cancelled", [])


def test_everything_is_given_back_in_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.chdir(str(tmp_path))
    monkeypatch.delenv("TASKQ_REDIS_URL", raising=False)
    before = dict(os.environ), vars(connect.source).copy(), vars(clock.source).copy(), threading.active_count()
    with Fleet() as fleet:
        fleet.run(report)
        fleet.clock.advance("1h")
        client = Client()
    assert before == (dict(os.environ), vars(connect.source), vars(clock.source), threading.active_count())
    with pytest.raises(ServerUnreachable, match="no Redis server is named"):
        Client()
    with pytest.raises(ServerUnreachable):
        client.enqueue(report)
    fleet.close()


def test_each_fleet_begins_empty() -> None:
    for _ in range(2):
        with Fleet() as fleet:
            assert fleet.registry.list() == [] and fleet.redis.dbsize() == 0
            fleet.run(report)


def test_one_fleet_at_a_time(taskq_fleet: Fleet) -> None:
    with pytest.raises(taskq.Conflict, match="another Fleet is open"):
        Fleet()


def test_settings_of_the_environment_and_of_the_test_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_MAX_PARAMS", "50")
    with Fleet(namespace="shop") as fleet:
        fleet.register(send_mail)
        with pytest.raises(taskq.InvalidInput, match="allowed are 50"):
            Client(settings=fleet.settings).enqueue(send_mail, to="x" * 100)
        assert {name.split(b":")[0] for name in fleet.redis.scan_iter()} == {b"shop"}
    with pytest.raises(taskq.InvalidInput, match="namespace"):
        Fleet(namespace="No!")
    with Fleet():
        pass
