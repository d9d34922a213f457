"""Time: of the fake server, of the package, of schedules, delayed runs, expiries and timeouts."""

from __future__ import annotations

import asyncio
import bdb
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import fakeredis
import pytest

from taskq import Client, InvalidInput, RunFailed, TaskContext, TaskqError, task
from taskq.registry import clock
from taskq.registry.keys import Keys
from taskq.testing import Fleet

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@task(every="30s")
def tick() -> None: ...


@task(cron="0 6 * * 1-5", timezone="Europe/Berlin", result_ttl="7d")
def report() -> str:
    return "done"


@task
def remind(who: str) -> str:
    return who


def server_time(fleet: Fleet) -> float:
    seconds, micros = fleet.redis.time()
    return float(seconds + micros / 1e6)


def slots(fleet: Fleet, name: str) -> list[str]:
    """The slots whose runs wait."""
    return [str(run.cause).partition("@")[2] for run in fleet.enqueued(name)]


def test_the_clock_is_the_real_one_until_it_is_moved(taskq_fleet: Fleet) -> None:
    began = time.time()
    assert began <= taskq_fleet.clock.now().timestamp() <= time.time()
    assert began <= server_time(taskq_fleet) <= time.time()


def test_all_clocks_are_moved_and_stand_still_then(taskq_fleet: Fleet) -> None:
    began = time.time()
    taskq_fleet.clock.advance("1h")
    moved = taskq_fleet.clock.now()
    assert began + 3600 <= moved.timestamp() <= time.time() + 3601
    (in_script,) = {int(taskq_fleet.redis.eval("return redis.call('TIME')[1]", 0)) for _ in range(3)}
    assert in_script == int(moved.timestamp()) == int(server_time(taskq_fleet)) == int(clock.now())
    assert taskq_fleet.clock.now() == moved
    before = clock.monotonic()
    taskq_fleet.clock.advance(90)
    assert clock.monotonic() - before == pytest.approx(90)
    assert taskq_fleet.clock.now() - moved == timedelta(seconds=90)


@pytest.mark.parametrize(
    "moment", [NOON, "2026-11-22T12:00:00Z", "2026-11-22T13:00:00+01:00", NOON.astimezone(timezone(timedelta(hours=-5)))]
)
def test_the_clock_can_be_set(taskq_fleet: Fleet, moment: datetime | str) -> None:
    taskq_fleet.clock.set(moment)
    assert taskq_fleet.clock.now() == NOON
    run = taskq_fleet.run(remind, who="ada")
    assert [run.queued_at, run.started_at, run.ended_at] == ["2026-11-22T12:00:00.000+00:00"] * 3


@pytest.mark.parametrize(
    ("moment", "message"),
    [("noon", "is no ISO 8601 time"), (datetime(2026, 1, 1), "with a zone"), (17, "with a zone"), ("2026-01-01", "zone")],  # noqa: DTZ001  # it is to be refused
)
def test_what_is_no_moment_is_refused(taskq_fleet: Fleet, moment: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        taskq_fleet.clock.set(moment)


@pytest.mark.parametrize("by", [-1, "soon", None, float("nan")])
def test_what_is_no_duration_is_refused(taskq_fleet: Fleet, by: Any) -> None:
    with pytest.raises(InvalidInput, match="by: "):
        taskq_fleet.clock.advance(by)


def test_runs_have_an_order_also_while_the_clock_stands_still(taskq_fleet: Fleet) -> None:
    taskq_fleet.clock.set(NOON)
    for number in range(20):
        taskq_fleet.run(remind, who=str(number))
    assert [run.result for run in reversed(taskq_fleet.client.runs())] == [str(number) for number in range(20)]


def test_a_schedule_fires_each_of_its_slots(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(tick)
    taskq_fleet.clock.advance("5m")
    assert len(taskq_fleet.enqueued(tick)) == 10
    assert all(run.queued_at == slot for run, slot in zip(taskq_fleet.enqueued(tick), slots(taskq_fleet, "tick"), strict=True))
    assert len(taskq_fleet.drain()) == 10
    taskq_fleet.clock.advance("20m", drain=True)
    assert taskq_fleet.enqueued() == []
    ended = taskq_fleet.client.runs("tick", status="succeeded")
    assert len(ended) == 50
    assert all(str(run.started_at) == str(run.cause).partition("@")[2] for run in ended[:40])


def test_a_cron_schedule_fires_at_its_wall_time(taskq_fleet: Fleet) -> None:
    taskq_fleet.clock.set("2026-11-20T05:59:59+01:00")  # a Friday
    taskq_fleet.register(report)
    assert taskq_fleet.enqueued() == []
    taskq_fleet.clock.advance("1s")
    (run,) = taskq_fleet.enqueued(report)
    assert (run.trigger, run.cause) == ("schedule", "cron 0 6 * * 1-5 Europe/Berlin@2026-11-20T05:00:00.000+00:00")
    taskq_fleet.clock.set("2026-11-23T06:00:00+01:00", drain=True)
    assert [str(run.started_at)[:16] for run in taskq_fleet.client.runs(report.name)] == ["2026-11-23T05:00", "2026-11-20T05:00"]


def test_slots_that_real_time_passed_over_before_the_clock_was_moved_are_none_of_the_tests(taskq_fleet: Fleet) -> None:
    @task(every="100ms")
    def often() -> None: ...

    taskq_fleet.register(often)
    deadline = time.monotonic() + 0.25
    while time.monotonic() < deadline:
        assert taskq_fleet.enqueued() == []
    taskq_fleet.clock.advance("1s")
    assert len(taskq_fleet.enqueued()) == 10


def test_a_schedule_follows_changes_of_the_registry(taskq_fleet: Fleet) -> None:
    taskq_fleet.clock.set(NOON)
    taskq_fleet.register(tick)
    taskq_fleet.clock.advance("1m")
    taskq_fleet.registry.pause("tick")
    taskq_fleet.clock.advance("10m")
    assert taskq_fleet.drain() == []
    taskq_fleet.registry.resume("tick")
    taskq_fleet.clock.advance("1m")
    taskq_fleet.registry.retire("tick")
    taskq_fleet.clock.advance("10m")
    assert taskq_fleet.enqueued() == []


# The slots of just now and of 30 s ago are in time.
@pytest.mark.parametrize(("misfire", "count"), [("once", 3), ("skip", 2), ("all", 20)])
def test_a_jump_is_a_time_without_a_scheduler(taskq_fleet: Fleet, misfire: Any, count: int) -> None:
    taskq_fleet.clock.set(NOON)

    @task(every="30s", misfire=misfire)
    def work() -> None: ...

    taskq_fleet.register(work)
    taskq_fleet.clock.jump("10m")
    assert len(taskq_fleet.enqueued()) == count


def test_an_overlap_that_is_not_allowed_needs_runs_that_end(taskq_fleet: Fleet) -> None:
    taskq_fleet.clock.set(NOON)

    @task(every="1m", overlap="skip")
    def slow() -> None: ...

    taskq_fleet.register(slow)
    taskq_fleet.clock.advance("5m")
    assert len(taskq_fleet.enqueued()) == 1
    taskq_fleet.drain()
    taskq_fleet.clock.advance("5m", drain=True)
    assert len(taskq_fleet.client.runs(status="succeeded")) == 6


def test_too_many_slots_are_refused_with_advice(taskq_fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskq.testing.clock.MOST_STEPS", 20)
    taskq_fleet.register(tick)
    with pytest.raises(TaskqError, match=r"more than 20 things become due; the clock stands at .*; move it in smaller steps"):
        taskq_fleet.clock.advance("1d")


def test_delayed_runs_become_due(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(remind)
    client = Client()
    client.options(in_="1h").enqueue(remind, who="in an hour")
    client.options(at=datetime.now(UTC) + timedelta(hours=2)).enqueue(remind, who="in two")
    client.options(at=datetime.now(UTC) - timedelta(hours=2)).enqueue(remind, who="at once")
    assert [run.result for run in taskq_fleet.drain()] == ["at once"]
    taskq_fleet.clock.advance("50m")
    assert taskq_fleet.drain() == []
    taskq_fleet.clock.advance("10m")
    assert [run.result for run in taskq_fleet.drain()] == ["in an hour"]
    taskq_fleet.clock.advance("1h")
    assert [run.result for run in taskq_fleet.drain()] == ["in two"]
    client.options(at=taskq_fleet.clock.now() + timedelta(hours=1)).enqueue(remind, who="by the fleet's clock")
    taskq_fleet.clock.advance("1h")
    assert [run.result for run in taskq_fleet.drain()] == ["by the fleet's clock"]


def test_a_delayed_run_is_due_by_real_time_as_well(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(remind)
    Client().options(in_="50ms").enqueue(remind, who="ada")
    deadline = time.monotonic() + 10
    while not (ended := taskq_fleet.drain()) and time.monotonic() < deadline:
        pass
    assert [run.result for run in ended] == ["ada"]


def test_keys_expire_by_the_fleets_clock(taskq_fleet: Fleet) -> None:
    run = taskq_fleet.run(remind, who="ada")
    taskq_fleet.redis.set("mine", "1", ex=60)
    taskq_fleet.clock.advance("30s")
    assert taskq_fleet.redis.exists("mine")
    taskq_fleet.clock.advance("31s")
    assert not taskq_fleet.redis.exists("mine")
    taskq_fleet.clock.advance("1h")  # the default result_ttl
    with pytest.raises(TaskqError, match="there is no run"):
        run.refresh()
    assert not taskq_fleet.redis.exists(Keys().rq_job(run.id))


def test_an_idempotency_key_is_forgotten_after_its_time(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(remind)
    first, again = (Client().options(key="k").enqueue(remind, who="ada") for _ in range(2))
    assert first.id == again.id
    taskq_fleet.clock.advance("25h")
    assert Client().options(key="k").enqueue(remind, who="ada").id != first.id


def test_other_fake_servers_have_the_real_time_again_afterwards() -> None:
    with Fleet() as fleet:
        fleet.clock.advance("10d")
    with fakeredis.FakeRedis(version=(7,)) as other:
        assert abs(other.time()[0] - time.time()) < 5


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What freezegun and time-machine do: this process' own time is another one."""
    moment = [NOON.timestamp()]
    monkeypatch.setattr(time, "time", lambda: moment[0])
    yield moment


def test_the_fleets_time_follows_a_time_that_somebody_else_has_moved(frozen: list[float], taskq_fleet: Fleet) -> None:
    taskq_fleet.register(remind)
    Client().options(in_="1h").enqueue(remind, who="ada")
    frozen[0] += 3600
    assert taskq_fleet.clock.now() == NOON + timedelta(hours=1)
    assert [run.result for run in taskq_fleet.drain()] == ["ada"]


# -- timeouts ----------------------------------------------------------------------------------------------
def test_a_task_that_exceeds_its_timeout_is_stopped(taskq_fleet: Fleet) -> None:
    @task(timeout="50ms")
    def hang() -> None:
        while True:
            pass

    began = time.monotonic()
    with pytest.raises(RunFailed) as caught:
        taskq_fleet.run(hang)
    assert caught.value.reason == "timeout"
    assert time.monotonic() - began < 10


def test_a_coroutine_that_exceeds_its_timeout_is_stopped_on_any_thread(taskq_fleet: Fleet) -> None:
    cleaned = []

    @task(timeout="50ms")
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(asyncio.current_task())

    async def main() -> str | None:
        return taskq_fleet.attempt(hang).reason

    assert taskq_fleet.attempt(hang).reason == "timeout"
    assert asyncio.run(main()) == "timeout"
    assert len(cleaned) == 2


def test_a_task_that_is_late_when_it_ends_has_timed_out_where_it_can_not_be_interrupted(taskq_fleet: Fleet) -> None:
    @task(timeout="20ms")
    def busy() -> None:
        deadline = time.monotonic() + 0.1
        while time.monotonic() < deadline:
            pass

    async def main() -> str | None:
        return taskq_fleet.attempt(busy).reason

    assert asyncio.run(main()) == "timeout"


def test_moving_the_clock_beyond_a_deadline_stops_the_task_there(taskq_fleet: Fleet) -> None:
    left: list[float | None] = []

    @task(timeout="5m")
    def slow(ctx: TaskContext) -> None:
        taskq_fleet.clock.advance("4m")
        left.append(ctx.remaining())
        try:
            taskq_fleet.clock.advance("2m")
        finally:
            left.append(ctx.remaining())
        left.append(None)

    with pytest.raises(RunFailed, match="timeout") as caught:
        taskq_fleet.run(slow)
    assert "the run exceeded its timeout" in str(caught.value.error)
    assert left == [pytest.approx(60, abs=0.01), 0.0]


def test_moving_the_clock_in_a_coroutine_cancels_it(taskq_fleet: Fleet) -> None:
    passed = []

    @task(timeout="5m")
    async def slow() -> None:
        taskq_fleet.clock.advance("6m")
        passed.append(1)
        await asyncio.Event().wait()

    assert taskq_fleet.attempt(slow).reason == "timeout"
    assert passed == [1]


def test_a_timeout_in_a_run_that_waits_for_another_strikes_the_one_that_is_late(taskq_fleet: Fleet) -> None:
    @task(timeout="10m")
    def inner() -> str:
        taskq_fleet.clock.advance("2m")
        return "in time"

    @task(timeout="1m")
    def outer() -> None:
        taskq_fleet.client.enqueue("inner").wait(3600)

    taskq_fleet.register(inner)
    run = taskq_fleet.attempt(outer)
    assert (run.status, run.reason) == ("failed", "timeout")
    (other,) = taskq_fleet.client.runs("inner")
    assert (other.status, other.result) == ("succeeded", "in time")


def test_nothing_is_stopped_while_a_debugger_is_at_work(taskq_fleet: Fleet) -> None:
    @task(timeout="1m")
    def debugged() -> str:
        debugger, before = bdb.Bdb(), sys.gettrace()
        debugger.reset()
        sys.settrace(debugger.trace_dispatch)
        try:
            taskq_fleet.clock.advance("1h")
        finally:
            sys.settrace(before)
        return "looked at"

    assert taskq_fleet.run(debugged).result == "looked at"


def test_a_callers_timeout_wins(taskq_fleet: Fleet) -> None:
    @task(timeout="10m")
    def look(ctx: TaskContext) -> float | None:
        return ctx.remaining()

    taskq_fleet.clock.set(NOON)
    assert taskq_fleet.options(timeout="2m").run(look).result == pytest.approx(120, abs=0.01)
