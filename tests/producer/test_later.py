"""Runs that are due at a later time: what is taken as one, what is written, and that they run then."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from redis import Redis
from support import hands, later
from support.waiting import until

from taskq.producer import AsyncClient, Client
from taskq.producer.due import due
from taskq.registry import clock
from taskq.registry.changes.registry import Registry
from taskq.registry.effects import run_sync
from taskq.registry.errors import Conflict, InvalidInput, RunFailed, WaitTimeout
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec
from taskq.registry.runs.later import move_due
from taskq.registry.settings import Settings

NUMBER = Spec(parameters=hands.schema(n={"type": "integer"}))
TOMORROW = timedelta(days=1)


@pytest.fixture(autouse=True)
def count(request: pytest.FixtureRequest, keys: Keys) -> None:
    """Task ``count`` on the server of the test."""
    name = "server" if "server" in request.fixturenames else "redis"
    hands.put_task(request.getfixturevalue(name), keys, "count", spec=NUMBER)


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


# -- what is taken as a time ---------------------------------------------------------------------------------
MOMENT = datetime(2026, 12, 1, 8, 0, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "at",
    [
        MOMENT,
        MOMENT.astimezone(ZoneInfo("Europe/Berlin")),
        MOMENT.astimezone(timezone(timedelta(hours=-9, minutes=-30))),
        "2026-12-01T09:00:00.123+01:00",
        "2026-12-01 08:00:00.123Z",
        " 20261201T080000.123Z ",
    ],
)
def test_one_moment_is_the_same_in_each_zone(at: datetime | str) -> None:
    assert due(at, None) == str(milliseconds(MOMENT))


def test_a_moment_is_never_rounded_down() -> None:
    assert due(MOMENT + timedelta(microseconds=1), None) == str(milliseconds(MOMENT) + 1)
    assert due(MOMENT - timedelta(microseconds=1), None) == str(milliseconds(MOMENT))


@pytest.mark.parametrize("at", [datetime(1969, 7, 20, tzinfo=UTC), datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))])
def test_a_moment_before_the_epoch_is_past(at: datetime) -> None:
    assert due(at, None) == "0"


@pytest.mark.parametrize(
    ("in_", "ahead"),
    [(90, "+90000"), (1.1, "+1100"), ("90s", "+90000"), ("1h30m", "+5400000"), (timedelta(days=1), "+86400000"), ("250ms", "+250"),
     (0.0001, "+1"), (0, ""), ("0s", "")],
)  # fmt: skip
def test_a_delay_is_taken_in_each_form(in_: Any, ahead: str) -> None:
    assert due(None, in_) == ahead


@pytest.mark.parametrize("at", ["2026-12-01T09:00", "2026-12-01", "0001-01-01T00:00"])
def test_text_without_a_zone_is_refused_with_what_to_write(at: str) -> None:
    full = datetime.fromisoformat(at).isoformat()
    with pytest.raises(InvalidInput, match=f"at='{at}' has no time zone.* write {full}Z for UTC"):
        due(at, None)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine stands in Berlin."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_the_zone_of_this_machine_is_offered_as_well() -> None:
    with pytest.raises(InvalidInput, match=r"or 2026-12-01T09:00:00\+01:00 for this machine's zone"):
        due("2026-12-01T09:00", None)


def test_a_datetime_without_a_zone_is_refused_with_what_to_write() -> None:
    with pytest.raises(InvalidInput, match=r"at=datetime.* no time zone.*tzinfo=UTC.*value\.astimezone\(\)"):
        due(datetime(2026, 12, 1, 9), None)  # noqa: DTZ001  # that is the test


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"at": "tomorrow"}, r"at='tomorrow' is not an ISO 8601 time: write it as 2026-"),
        ({"at": ""}, "at='' is not an ISO 8601 time"),
        ({"at": 1_795_370_400}, "at=1795370400 must be a datetime with a time zone"),
        ({"at": date(2026, 12, 1)}, "must be a datetime"),
        ({"at": datetime.max.replace(tzinfo=UTC)}, "more than ten years ahead"),
        ({"at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))}, "more than ten years ahead"),
        ({"in_": "soon"}, "in_: 'soon' is not a duration"),
        ({"in_": -1}, "in_: -1 is not a duration: .* not negative"),
        ({"in_": timedelta(seconds=-1)}, "not negative"),
        ({"in_": float("nan")}, "finite"),
        ({"in_": True}, "in_: True is not a duration"),
        ({"in_": 1_795_370_400}, "in_=1795370400 lies more than ten years ahead; a number without a unit is seconds"),
        ({"in_": "3654d"}, "more than ten years ahead"),
        ({"at": "2026-12-01T09:00Z", "in_": 5}, "one of the two"),
    ],
)
def test_what_is_no_time_is_refused_by_name_and_value(client: Client, server: Redis, given: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        client.options(**given)
    assert server.keys("rq:*") == []


def test_ten_years_are_allowed(client: Client) -> None:
    far = client.options(in_="3653d").enqueue("count")
    assert far.status == "scheduled"
    assert client.options(at=clock.utc(clock.now() + 3652 * 86_400)).enqueue("count").status == "scheduled"


# -- what is written -----------------------------------------------------------------------------------------
def test_a_run_waits_until_it_is_due_and_knows_when(client: Client, server: Redis, keys: Keys) -> None:
    moment = clock.utc(float(server.time()[0])) + TOMORROW
    run = client.options(at=moment).enqueue("count", n=3)
    assert (run.status, run.due_at, run.queued_at) == ("scheduled", clock.iso(moment.timestamp()), None)
    # What is returned is what a refresh reads
    returned = dict(run.document)
    assert run.refresh().document == returned
    assert server.llen(keys.rq_queue("default")) == 0
    # When it has become due, it is as any other, and still knows when it was
    later.come_due(server, keys, run.id)
    later.move(server, keys)
    assert (run.refresh().status, run.due_at, run.queued_at is not None) == ("queued", returned["due_at"], True)
    (claimed,) = hands.claim(server, keys)
    assert (claimed.run, claimed.params) == (run.id, {"n": 3})
    hands.finish(server, keys, claimed, 3)
    assert (run.wait(5), run.due_at) == (3, returned["due_at"])


def test_a_delay_counts_from_each_enqueue_by_the_servers_clock(
    client: Client, server: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a machine whose own clock is wrong
    monkeypatch.setattr(clock.source, "wall", lambda: 1.0)
    soon = client.options(in_="1h")
    before = sum(part * factor for part, factor in zip(server.time(), (1000, 0.001), strict=True))
    first, second = soon.enqueue("count"), soon.enqueue("count")
    scores = [server.zscore(keys.scheduler_runs, run.id) for run in (first, second)]
    assert None not in scores
    assert 0 <= scores[0] - before - 3_600_000 < 10_000
    assert scores[0] <= scores[1]
    assert first.due_at == clock.iso(scores[0] / 1000)


def test_a_short_delay_is_not_cut_short(client: Client, server: Redis, keys: Keys) -> None:
    # Given runs with a delay of 20 ms, and when each was asked for
    asked = {}
    for _ in range(10):
        seconds, micros = server.time()
        asked[client.options(in_="20ms").enqueue("count").id] = seconds + micros / 1e6
    # When they are moved
    lease = later.lead(server, keys)
    until(lambda: run_sync(move_due(keys, lease), server) and server.llen(keys.rq_queue("default")) == len(asked))
    # Then none was due before its time
    for run, when in asked.items():
        assert int(server.hget(keys.rq_job(run), "due") or 0) / 1000 >= when + 0.020


@pytest.mark.parametrize("given", [{"at": "2020-01-01T00:00Z"}, {"at": datetime(1960, 1, 1, tzinfo=UTC)}, {"in_": 0}])
def test_what_is_past_runs_now(client: Client, server: Redis, keys: Keys, given: Any) -> None:
    run = client.options(**given).enqueue("count")
    assert (run.status, run.due_at) == ("queued", None)
    assert run.queued_at is not None
    assert run.refresh().status == "queued"
    assert server.lrange(keys.rq_queue("default"), 0, -1) == [run.id.encode()]
    assert server.zcard(keys.scheduler_runs) == 0


def test_what_is_not_given_is_not_later(client: Client) -> None:
    assert client.options(at=None, in_=None).enqueue("count").status == "queued"


def test_one_time_is_not_that_of_another_call(client: Client, server: Redis, keys: Keys) -> None:
    moments = [clock.utc(float(server.time()[0])) + TOMORROW * day for day in (1, 2)]
    runs = [client.options(at=moment).enqueue("count") for moment in moments]
    now = client.enqueue("count")
    assert [run.due_at for run in runs] == [clock.iso(moment.timestamp()) for moment in moments]
    assert (now.status, now.due_at) == ("queued", None)
    # And what is kept for other calls grows by none of them
    kept = client._link.core._forms
    assert [options.due for _, options in kept] == [""]


def test_many_runs_are_due_together_and_keep_their_order(client: Client, server: Redis, keys: Keys) -> None:
    moment = clock.utc(float(server.time()[0])) + TOMORROW
    runs = client.options(at=moment).enqueue_many("count", [{"n": n} for n in range(1100)])
    assert {run.status for run in runs} == {"scheduled"}
    assert {run.due_at for run in runs} == {clock.iso(moment.timestamp())}
    assert server.zcard(keys.scheduler_runs) == server.zcard(keys.rq_registry("scheduled", "default")) == 1100
    assert runs[-1].refresh().due_at == runs[0].due_at


def test_version_pin_and_timeout_hold_for_a_later_run(client: Client, server: Redis, keys: Keys) -> None:
    old = client.options(version=1, timeout="250ms", in_=60).enqueue("count", n=1)
    pinned = client.options(pin=True, in_=60).enqueue("count", n=2)
    hands.put_task(server, keys, "count", version=2)
    assert (old.version, pinned.version, pinned.refresh().version) == (1, 1, 1)
    later.come_due(server, keys, old.id, pinned.id)
    later.move(server, keys)
    assert [(claimed.pin, claimed.limit) for claimed in hands.claim(server, keys, 2)] == [("1", "0.25"), ("1", "")]


def test_a_key_stands_for_the_run_until_after_it_is_due(client: Client, server: Redis, keys: Keys, settings: Settings) -> None:
    once = client.options(key="order 7", in_="30d")
    first, second = once.enqueue("count"), once.enqueue("count")
    assert (first.id, first.deduplicated, second.deduplicated) == (second.id, False, True)
    # The answer tells of the run that there is, whatever was asked for
    now = client.options(key="order 7").enqueue("count")
    assert (now.id, now.status, now.due_at) == (first.id, "scheduled", first.due_at)
    (key,) = server.keys("taskq:once:*")
    assert server.ttl(key) >= 30 * 86_400 + settings.idempotency_ttl - 60
    client.options(key="soon").enqueue("count")
    (soon,) = {*server.keys("taskq:once:*")} - {key}
    assert server.ttl(soon) <= settings.idempotency_ttl


def test_parameters_are_checked_when_it_is_made(client: Client, server: Redis) -> None:
    with pytest.raises(InvalidInput):
        client.options(in_=60).enqueue("count", n="x")
    assert server.keys("rq:*") == []


def test_queued_events_say_that_it_is_scheduled_and_then_that_it_is_queued(server: Redis, keys: Keys, settings: Settings) -> None:
    with Client(server, settings=settings.model_copy(update={"events": "all"})) as client:
        run = client.options(in_=60).enqueue("count")
        past = client.options(at="2020-01-01T00:00Z").enqueue("count")
    later.come_due(server, keys, run.id)
    later.move(server, keys, events=True)
    entries: Any = server.xrange(keys.events)
    events = [json.loads(fields[b"event"]) for _, fields in entries]
    assert {event["type"] for event in events} == {"taskq.run.queued"}
    assert [(event["data"]["run"], event["data"]["status"]) for event in events] == [
        (run.id, "scheduled"),
        (past.id, "queued"),
        (run.id, "queued"),
    ]


# -- following it --------------------------------------------------------------------------------------------
def test_a_later_run_is_cancelled_and_never_runs(client: Client, server: Redis, keys: Keys) -> None:
    run = client.options(in_=60).enqueue("count")
    due_at = run.due_at
    run.cancel()
    assert (run.status, run.due_at) == ("cancelled", due_at)
    assert (server.zcard(keys.scheduler_runs), server.zcard(keys.rq_registry("scheduled", "default"))) == (0, 0)
    assert server.ttl(keys.rq_job(run.id)) > 0
    with pytest.raises(RunFailed, match="was cancelled"):
        run.wait(5)
    with pytest.raises(Conflict, match="has ended: cancelled"):
        run.cancel()
    assert later.move(server, keys).count == 0


def test_later_runs_are_listed_by_their_times_and_out_of_the_common_list(client: Client, server: Redis, keys: Keys) -> None:
    hands.put_task(server, keys, "other")
    runs = {minutes: client.options(in_=f"{minutes}m").enqueue("count") for minutes in (30, 10, 20)}
    other = client.options(in_="5m").enqueue("other")
    client.enqueue("count")
    assert [run.id for run in client.runs(status="scheduled")] == [other.id, runs[10].id, runs[20].id, runs[30].id]
    assert [run.id for run in client.runs(task="count", status="scheduled", limit=2)] == [runs[10].id, runs[20].id]
    assert len(client.runs(task="count")) == 4
    # And those that the index of runs has lost are still listed
    server.delete(keys.runs, keys.runs_of("count"))
    assert len(client.runs(task="count", status="scheduled")) == 3


def test_retiring_a_task_cancels_its_later_runs_and_no_others(redis: Redis, keys: Keys, settings: Settings) -> None:
    hands.put_task(redis, keys, "other")
    with Client(redis, settings=settings) as client, Registry(redis, settings=settings, who="tester") as registry:
        runs = client.options(in_="1h").enqueue_many("count", [{}] * 600)
        other = client.options(in_="1h").enqueue("other")
        # Given that the index has lost them, as it does after 100,000 further runs
        redis.delete(keys.runs_of("count"))
        registry.retire("count")
        assert {run.refresh().status for run in runs} == {"cancelled"}
        assert other.refresh().status == "scheduled"
    assert redis.zrange(keys.scheduler_runs, 0, -1) == [other.id.encode()]
    assert redis.zrange(keys.rq_registry("scheduled", "default"), 0, -1) == [other.id.encode()]


def test_a_wait_that_ends_before_it_is_due_says_so(client: Client) -> None:
    run = client.options(in_=60).enqueue("count")
    with pytest.raises(WaitTimeout, match="it is scheduled"):
        run.wait(0.05)


def test_the_asyncio_client_takes_times_as_well(redis: Redis, keys: Keys, settings: Settings) -> None:
    async def story() -> None:
        async with AsyncClient(settings=settings) as client:
            run = await client.options(in_="90s").enqueue("count", n=1)
            assert (run.status, run.due_at is not None, run.queued_at) == ("scheduled", True, None)
            moment = clock.utc(float(redis.time()[0])) + TOMORROW
            many = await client.options(at=moment).enqueue_many("count", [{"n": 1}, {"n": 2}])
            assert {one.due_at for one in many} == {clock.iso(moment.timestamp())}
            assert len(await client.runs(status="scheduled")) == 3
            with pytest.raises(InvalidInput, match="no time zone"):
                client.options(at=datetime(2026, 12, 1))  # noqa: DTZ001  # that is the test
            waiting = asyncio.create_task(run.wait(10))
            later.come_due(redis, keys, run.id)
            later.move(redis, keys)
            hands.finish(redis, keys, hands.claim(redis, keys)[0], 7)
            assert await waiting == 7

    asyncio.run(story())
