"""From due slots to runs: on the real server and on a fake one, killed at each point, with lost and doubled calls."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from support.later import come_due
from support.scheduling import Registry, assert_seamless

from taskq.producer.client import Client
from taskq.producer.scheduler.firing import BATCH, PAGE
from taskq.producer.scheduler.leadership import lead, resign
from taskq.producer.scheduler.ticker import SoloScheduler, Tick, Ticker
from taskq.registry import scripts
from taskq.registry.changes.registry import Registry as Changes
from taskq.registry.connect import connect
from taskq.registry.effects import Call, Effect, Op, _perform, run_sync
from taskq.registry.errors import Conflict, ServerUnreachable, TaskqError
from taskq.registry.feed.feed import read_changes
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.keys import Keys
from taskq.registry.runs.document import read_run
from taskq.registry.schedules.slots import run_id
from taskq.registry.settings import Settings

HOUR = 3_600_000


class Leading:
    """A ticker with a snapshot, under a lease of its own."""

    def __init__(self, redis: Redis, keys: Keys, settings: Settings) -> None:
        self.redis, self.keys, self.settings = redis, keys, settings
        self.snapshot = Snapshot()
        self.ticker = Ticker(keys, settings, self.snapshot)
        self.lease = self.take("s1")

    def take(self, who: str) -> str:
        """Take the lead from whoever has it."""
        self.redis.delete(self.keys.scheduler_lease)
        return f"{run_sync(lead(self.keys, self.keys.scheduler_lease, who, '', 60), self.redis).token}|{who}"

    def read(self) -> None:
        """Bring the snapshot up to date."""
        self.ticker.changed(run_sync(read_changes(self.keys, self.snapshot), self.redis))

    def tick(self) -> Tick:
        """One tick on the snapshot as it is."""
        return run_sync(self.ticker.tick(self.lease), self.redis)

    def work(self) -> Tick:
        """Read, and tick until nothing is due."""
        self.read()
        while True:
            tick = self.tick()
            if tick.outcome != "done" or tick.next is None or tick.next > tick.now:
                return tick


@pytest.fixture
def strict(settings: Settings) -> Settings:
    """No grace: whatever is late at all is a misfire."""
    return settings.model_copy(update={"misfire_after": 0.0})


@pytest.fixture
def book(server: Redis, keys: Keys) -> Registry:
    return Registry(server, keys)


@pytest.fixture
def leading(server: Redis, keys: Keys, strict: Settings) -> Leading:
    return Leading(server, keys, strict)


def hours_ago(book: Registry, hours: int) -> int:
    """A moment just before the slot of an hourly schedule that many slots ago."""
    return book.now() // HOUR * HOUR - (hours - 1) * HOUR - 1


# -- one slot ----------------------------------------------------------------------------------------------
def test_a_run_of_a_slot_is_a_run_like_any_other(book: Registry, leading: Leading, server: Redis, keys: Keys) -> None:
    book.put("t", every=3600.0, since=hours_ago(book, 1), timeout=12.5)
    tick = leading.work()
    slot = book.now() // HOUR * HOUR
    run = run_id("t", "every 1h", slot)
    assert book.queued() == [run]
    assert (tick.outcome, tick.next) == ("done", slot + HOUR)
    document = run_sync(read_run(keys, run), server)
    assert {name: document[name] for name in ("task", "status", "trigger", "attempt")} == {
        "task": "t",
        "status": "queued",
        "trigger": "schedule",
        "attempt": 0,
    }
    assert document["cause"].startswith("every 1h@20")
    assert document["cause"].endswith(":00:00.000+00:00")
    assert server.hget(keys.rq_job(run), "timeout") == b"13"
    assert server.smembers(keys.rq_queues) == {keys.rq_queue("default").encode()}
    assert server.zrange(keys.runs, 0, -1) == server.zrange(keys.runs_of("t"), 0, -1) == [run.encode()]
    assert server.xlen(keys.events) == 0
    assert (book.state("t|every 1h").last, book.state("t|every 1h").run) == (slot, run)


def test_queued_events_are_sent_where_all_events_are_asked_for(book: Registry, server: Redis, keys: Keys, strict: Settings) -> None:
    book.put("t", every=3600.0, since=hours_ago(book, 1))
    Leading(server, keys, strict.model_copy(update={"events": "all"})).work()
    ((_, fields),) = server.xrange(keys.events)
    assert b'"type":"taskq.run.queued"' in fields[b"event"]
    assert b'"cause":"every 1h@' in fields[b"event"]


@pytest.mark.parametrize(("misfire", "runs", "misfires"), [("once", 1, 3), ("skip", 0, 4), ("all", 4, 0)])
def test_missed_slots_follow_the_policy(book: Registry, leading: Leading, misfire: str, runs: int, misfires: int) -> None:
    book.put("t", every=3600.0, misfire=misfire, since=hours_ago(book, 4))
    leading.work()
    newest = book.now() // HOUR * HOUR
    assert book.slots("t") == [newest - at * HOUR for at in reversed(range(runs))]
    assert book.state("t|every 1h").misfires == misfires
    assert book.due("t|every 1h") == newest + HOUR


def test_a_task_may_have_several_schedules(book: Registry, leading: Leading) -> None:
    book.put("t", every=3600.0, cron="0 * * * *", at="2001-01-01T00:00:00+00:00", since=hours_ago(book, 1))
    leading.work()
    assert len(book.queued()) == 2
    assert book.due("t|at 2001-01-01T00:00:00+00:00") == float("inf")


def test_what_is_not_due_is_not_fired(book: Registry, leading: Leading) -> None:
    book.put("t", every=3600.0)
    tick = leading.work()
    assert book.queued() == []
    assert tick.next == book.due("t|every 1h") == book.now() // HOUR * HOUR + HOUR


def test_without_schedules_nothing_is_to_come(leading: Leading) -> None:
    assert leading.work().next is None


# -- changes of the registry -------------------------------------------------------------------------------
def test_a_slot_decided_on_an_older_revision_is_refused_and_decided_again(book: Registry, leading: Leading) -> None:
    book.put("t", every=3600.0, since=hours_ago(book, 1))
    leading.read()
    book.put("u", every=7200.0)
    assert leading.tick().outcome == "moved"
    assert book.queued() == []
    assert leading.work().outcome == "done"
    assert len(book.slots("t")) == 1


def test_a_schedule_that_was_removed_or_whose_task_is_retired_does_not_fire(book: Registry, leading: Leading) -> None:
    book.put("t", "u", every=3600.0, since=hours_ago(book, 1))
    leading.read()
    book.put("t", version=2, timeout=9.0)
    book.set_state("u", "retired")
    leading.work()
    assert book.queued() == []
    assert book.due("t|every 1h") is None
    assert book.due("u|every 1h") is None


def test_a_schedule_that_stays_over_a_change_keeps_its_slot(book: Registry, leading: Leading) -> None:
    book.put("t", every=3600.0, since=hours_ago(book, 2), misfire="all")
    leading.work()
    before = (book.queued(), book.due("t|every 1h"), book.state("t|every 1h"))
    book.put("t", version=2, every=3600.0, cron="0 * * * *", misfire="all", since=hours_ago(book, 3))
    leading.work()
    assert book.queued()[: len(before[0])] == before[0]
    assert (book.due("t|every 1h"), book.state("t|every 1h")) == before[1:]
    assert len(book.queued()) == len(before[0]) + 3


def test_a_schedule_that_was_gone_for_a_while_fires_no_slot_of_that_time(redis: Redis, keys: Keys, settings: Settings) -> None:
    book, leading = Registry(redis, keys), Leading(redis, keys, settings)
    source = b'from taskq import task\n\n\n@task(every="300d", misfire="all")\ndef t() -> None: ...\n'
    with Changes(redis, settings=settings) as changes:
        changes.register_source("t.py", source, origin="o", inspect="local")
        leading.work()
        # Given a slot that is long past, since no scheduler ran
        redis.zadd(keys.scheduler_due, {"t|every 300d": 1})
        # When it goes and comes back before there is one again
        changes.retire("t")
        changes.register_source("t.py", source, origin="o", inspect="local")
    leading.work()
    # Then it begins anew, also for who remembers it
    assert book.queued() == []
    assert (book.due("t|every 300d") or 0) > book.now()


def test_a_moment_that_has_fired_does_not_fire_again_whoever_leads(book: Registry, leading: Leading, server: Redis) -> None:
    book.put("t", at="2001-01-01T00:00:00+00:00", since=0)
    book.put("t", at="2001-01-01T00:00:00+00:00", since=946_684_800_000)
    leading.work()
    (run,) = book.queued()
    server.delete(leading.keys.rq_job(run), leading.keys.rq_queue("default"))
    leading.lease = leading.take("s2")
    leading.work()
    assert book.queued() == []
    assert book.due("t|at 2001-01-01T00:00:00+00:00") == float("inf")


def test_a_pause_holds_a_slot_back_until_the_task_is_resumed(book: Registry, leading: Leading, server: Redis) -> None:
    book.put("t", every=3600.0, since=hours_ago(book, 3))
    book.set_state("t", "paused")
    # As if it had been paused before the slots.
    record = leading.keys.registry
    blob = server.hget(record, "t")
    book.redis.zadd(leading.keys.scheduler_due, {"t|every 1h": book.now() // HOUR * HOUR - 2 * HOUR})
    assert blob
    leading.work()
    newest = book.now() // HOUR * HOUR
    state = book.state("t|every 1h")
    assert (book.queued(), state.held, state.misfires) == ([], newest, 2)
    # When somebody else leads at the time of the resume
    leading.lease = leading.take("s2")
    book.set_state("t", "active")
    leading.work()
    state = book.state("t|every 1h")
    assert (book.slots("t"), state.held, state.misfires, state.last) == ([newest], None, 2, newest)
    assert book.due("t|every 1h") == newest + HOUR


def test_a_schedule_of_a_record_that_another_release_wrote_is_left_alone(book: Registry, leading: Leading, server: Redis) -> None:
    book.put("t", "u", every=3600.0, since=hours_ago(book, 1))
    leading.read()
    leading.tick()
    server.delete(leading.keys.rq_queue("default"), *(leading.keys.rq_job(run) for run in book.queued()))
    server.hset(leading.keys.registry, "t", b"\xc1\x63other")
    book.put("u", every=3600.0, version=2)
    server.zadd(leading.keys.scheduler_due, {"t|every 1h": 1, "u|every 1h": book.now() // HOUR * HOUR - HOUR})
    leading.lease = leading.take("s2")
    leading.snapshot.__init__()  # type: ignore[misc]  # a process that reads all of it
    tick = leading.work()
    assert tick.next == book.due("u|every 1h"), "what is left alone is not waited for"
    assert book.slots("t") == []
    assert len(book.queued()) == 1
    assert book.due("t|every 1h") == 1


def test_a_state_that_another_release_wrote_is_left_alone(book: Registry, leading: Leading, server: Redis) -> None:
    book.put("t", "u", every=3600.0, since=hours_ago(book, 1))
    server.hset(leading.keys.scheduler_state, "t|every 1h", b"\xc1\x63other")
    leading.work()
    assert (len(book.slots("t")), len(book.slots("u"))) == (0, 1)


def test_a_zone_that_this_machine_does_not_know_harms_no_other_schedule(book: Registry, leading: Leading, server: Redis) -> None:
    book.put("t", cron="0 * * * *", timezone="Mars/Base", since=hours_ago(book, 1))
    book.put("u", every=3600.0, since=hours_ago(book, 1))
    leading.work()
    assert (len(book.slots("t")), len(book.slots("u"))) == (0, 1)
    server.zadd(leading.keys.scheduler_due, {"t|cron 0 * * * * Mars/Base": 1})
    leading.ticker.forget()
    assert leading.work().next == book.due("u|every 1h")


def test_a_registry_that_is_empty_again_has_no_schedules(book: Registry, leading: Leading, server: Redis) -> None:
    book.put("t", every=3600.0, since=hours_ago(book, 1))
    leading.work()
    server.flushall()
    assert leading.work().outcome == "lost"
    leading.lease = leading.take("s1")
    assert leading.work() == Tick("done", pytest.approx(0, abs=1e12), pytest.approx(0, abs=1e15))
    book.put("t", every=3600.0, since=hours_ago(book, 1))
    leading.work()
    assert len(book.slots("t")) == 1


def test_who_leads_with_an_old_snapshot_leaves_the_schedules_alone(book: Registry, leading: Leading, server: Redis) -> None:
    # Given one who was stopped while another one led: "kept" and "gone" have fired, and the process knows only "gone"
    book.put("gone", every=3600.0, misfire="all", since=hours_ago(book, 3))
    leading.read()
    book.put("gone", version=2)
    book.put("kept", every=3600.0, misfire="all", since=hours_ago(book, 3))
    other = Leading(server, leading.keys, leading.settings)
    other.work()
    assert len(book.slots("kept")) == 3
    before = (book.due("kept|every 1h"), book.state("kept|every 1h"))
    server.delete(leading.keys.rq_queue("default"), *(leading.keys.rq_job(run) for run in book.queued()))
    # When it is woken and gets the lead before it has read the registry
    leading.lease = leading.take("s1")
    assert leading.tick().outcome == "moved"
    # Then none of the slots of before fires again, neither of what it did not know of nor of what is no more
    assert book.due("gone|every 1h") is None
    assert (book.due("kept|every 1h"), book.state("kept|every 1h")) == before
    leading.work()
    assert book.queued() == []


# -- overlap -----------------------------------------------------------------------------------------------
def test_a_slot_whose_last_run_has_not_ended_is_counted_instead(fake: Redis, keys: Keys, settings: Settings, clock: Any) -> None:
    mine = Registry(fake, keys)
    solo = SoloScheduler(keys, settings)
    mine.put("t", every=10.0, overlap="skip")
    for _ in range(4):
        clock.now += 10_000
        run_sync(solo.run_due(), fake)
    (run,) = mine.queued()
    assert mine.state("t|every 10s").misfires == 3
    mine.finish(run)
    clock.now += 10_000
    run_sync(solo.run_due(), fake)
    assert mine.slots("t") == [clock.now // 10_000 * 10_000]
    fake.delete(keys.rq_job(mine.queued()[0]))
    clock.now += 10_000
    run_sync(solo.run_due(), fake)
    assert mine.state("t|every 10s").misfires == 3


# -- a full Redis ------------------------------------------------------------------------------------------
def test_runs_that_are_due_start_from_a_full_redis_while_slots_wait(own_server: Any, keys: Keys, settings: Settings) -> None:
    with connect(settings.model_copy(update={"redis_url": own_server.url})) as client:
        mine = Registry(client, keys)
        leading = Leading(client, keys, settings)
        mine.put("t", every=3600.0, since=hours_ago(mine, 1))
        mine.put("later")
        run = Client(client, settings=settings).options(in_=3600).enqueue("later").id
        come_due(client, keys, run)
        leading.read()
        client.config_set("maxmemory", 1)
        with pytest.raises(TaskqError, match="Redis is full"):
            leading.tick()
        assert mine.queued() == [run]
        client.config_set("maxmemory", 0)
        leading.work()
        assert len(mine.slots("t")) == 1


# -- who leads ---------------------------------------------------------------------------------------------
def test_whoever_does_not_lead_writes_nothing(book: Registry, leading: Leading, server: Redis) -> None:
    book.put("t", every=3600.0, since=hours_ago(book, 1))
    leading.read()
    later = leading.take("s2")
    for step in (leading.tick, leading.tick):
        assert step().outcome == "lost"
    assert book.queued() == []
    assert book.due("t|every 1h") is None
    leading.lease = later
    assert leading.work().outcome == "done"
    assert len(book.queued()) == 1


def test_a_lead_is_kept_by_its_token_alone(server: Redis, keys: Keys) -> None:
    def ask(who: str, token: str = "") -> Any:
        return run_sync(lead(keys, keys.scheduler_lease, who, token, 10), server)

    first = ask("a")
    assert (first.leader, bool(first.token)) == ("a", True)
    assert ask("b").token == ""
    assert ask("b").leader == "a"
    assert ask("a").token == "", "the same name is not the same process"
    assert ask("a", first.token).token == first.token
    assert not run_sync(resign(keys.scheduler_lease, "b", first.token, keys.scheduler_wake), server)
    assert run_sync(resign(keys.scheduler_lease, "a", first.token, keys.scheduler_wake), server)
    assert not run_sync(resign(keys.scheduler_lease, "a", first.token, keys.scheduler_wake), server)
    second = ask("b")
    assert int(second.token) > int(first.token)
    assert ask("a", first.token).token == ""


def test_a_scheduler_without_a_process_leaves_the_work_to_one_that_leads(server: Redis, keys: Keys, settings: Settings) -> None:
    run_sync(lead(keys, keys.scheduler_lease, "other", "", 60), server)
    with pytest.raises(Conflict, match="scheduler other leads"):
        run_sync(SoloScheduler(keys, settings).run_due(), server)


# -- killed, doubled, lost ---------------------------------------------------------------------------------
class Killed(Exception):
    """The process ends here."""


def drive(op: Op[Any], redis: Redis, around: Callable[[Effect, Callable[[], Any]], Any]) -> Any:
    """Drive an operation; ``around`` is given each effect and how to perform it, and returns the reply."""
    try:
        effect = next(op)
        while True:
            try:
                reply = around(effect, lambda effect=effect: _perform(effect, redis))
            except ServerUnreachable as error:
                effect = op.throw(error)
            else:
                effect = op.send(reply)
    except StopIteration as stop:
        return stop.value
    finally:
        op.close()


def changing(fake: Redis, keys: Keys, clock: Any) -> Registry:
    """Schedules of all kinds in the midst of their life: missed slots, a held one, new ones and one to be removed."""
    mine = Registry(fake, keys)
    solo = SoloScheduler(keys, Settings())
    mine.put("busy", every=10.0)
    mine.put("paused", every=10.0)
    mine.put("all", every=10.0, misfire="all")
    mine.put("gone", every=10.0)
    run_sync(solo.run_due(), fake)
    mine.set_state("paused", "paused")
    clock.now += 25_000
    run_sync(solo.run_due(), fake)
    mine.set_state("paused", "active")
    mine.set_state("gone", "retired")
    mine.put("new", cron="* * * * *")
    fake.delete(keys.scheduler_lease)
    clock.now += 100_000
    return mine


def outcome(mine: Registry) -> dict[str, Any]:
    """All that is to be the same however often a scheduler was killed."""
    names = ("busy|every 10s", "paused|every 10s", "all|every 10s", "gone|every 10s", "new|cron * * * * *")
    slots = {name: mine.slots(name.partition("|")[0]) for name in names}
    return {"slots": slots, "due": {name: mine.due(name) for name in names}, "state": {name: mine.state(name) for name in names}}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_point_of_a_tick_it_happened_or_it_did_not(fake: Redis, keys: Keys, clock: Any, after: bool) -> None:
    # Given what a tick that nobody disturbs does
    start = clock.now
    mine = changing(fake, keys, clock)
    effects: list[Effect] = []
    drive(SoloScheduler(keys, Settings()).run_due(), fake, lambda effect, perform: effects.append(effect) or perform())
    wanted = outcome(mine)
    assert len(wanted["slots"]["paused|every 10s"]) > 2
    for at in range(len(effects)):
        # When it is killed before or after its n-th call, and another one takes over
        fake.flushall()
        clock.now = start
        mine = changing(fake, keys, clock)
        calls = 0

        def killed(effect: Effect, perform: Callable[[], Any], at: int = at) -> Any:
            nonlocal calls
            calls += 1
            if calls == at + 1 and not after:
                raise Killed
            reply = perform()
            if calls == at + 1:
                raise Killed
            return reply

        with pytest.raises(Killed):
            drive(SoloScheduler(keys, Settings(), "first").run_due(), fake, killed)
        fake.delete(keys.scheduler_lease)
        run_sync(SoloScheduler(keys, Settings(), "second").run_due(), fake)
        # Then all is as if nothing had happened
        assert outcome(mine) == wanted, effects[at]


def doubled(effect: Effect, perform: Callable[[], Any]) -> Any:
    """Each call arrives twice; but for that of the lead, which then has to wait for the lease's end."""
    if not (isinstance(effect, Call) and effect.script.name == "lead"):
        perform()
    return perform()


class Lossy:
    """A third of the replies of scripts are lost, each time the same ones."""

    def __init__(self) -> None:
        self.dice = random.Random(7)

    def __call__(self, effect: Effect, perform: Callable[[], Any]) -> Any:
        reply = perform()
        if isinstance(effect, Call) and effect.script.name != "lead" and self.dice.random() < 1 / 3:
            raise ServerUnreachable("the reply was lost")
        return reply


@pytest.mark.parametrize("around", [doubled, Lossy()])
def test_calls_that_arrive_twice_or_whose_reply_is_lost_do_no_harm(fake: Redis, keys: Keys, clock: Any, around: Any) -> None:
    start = clock.now
    mine = changing(fake, keys, clock)
    run_sync(SoloScheduler(keys, Settings()).run_due(), fake)
    wanted = outcome(mine)
    fake.flushall()
    clock.now = start
    mine = changing(fake, keys, clock)
    solo = SoloScheduler(keys, Settings())
    for _ in range(60):
        with contextlib.suppress(ServerUnreachable):
            drive(solo.run_due(), fake, around)
    assert outcome(mine) == wanted


def test_a_step_that_is_sent_again_is_refused(book: Registry, leading: Leading, server: Redis) -> None:
    book.put("t", every=3600.0, misfire="all", since=hours_ago(book, 3))
    leading.read()
    sent: list[Call] = []

    def recorded(effect: Effect, perform: Callable[[], Any]) -> Any:
        if isinstance(effect, Call) and effect.script.name == "slot":
            sent.append(effect)
        return perform()

    drive(leading.ticker.tick(leading.lease), server, recorded)
    before = (book.queued(), book.state("t|every 1h"), book.due("t|every 1h"))
    server.delete(*(leading.keys.rq_job(run) for run in book.queued()))  # not even its id is there any more
    for call in sent:
        assert call.script.call(server, call.keys, call.args)[2:] == [b"gone"] * 3
    assert (book.queued(), book.state("t|every 1h"), book.due("t|every 1h")) == before


def test_a_slot_of_the_future_is_refused(book: Registry, leading: Leading, server: Redis) -> None:
    keys, slot = leading.keys, book.now() + 60_000
    server.zadd(keys.scheduler_due, {"t|x": slot})
    server.set(keys.revision, 5)
    names = [keys.scheduler_lease, keys.revision, keys.scheduler_due, keys.scheduler_state, keys.rq_queues, keys.runs, keys.events]
    args = [leading.lease, 5, keys.rq, keys.prefix, 100, b"", "t|x", slot, "", slot, slot + 1, "state", "run", "t", "q", 1, "why", ""]
    assert scripts.load("slot").call(server, names, args)[2:] == [b"early"]
    assert server.zscore(keys.scheduler_due, "t|x") == slot
    assert not server.exists(keys.scheduler_state, keys.rq_job("run"))


# -- many --------------------------------------------------------------------------------------------------
def test_many_schedules_due_at_once_are_fired_in_calls_that_are_short(book: Registry, server: Redis, keys: Keys, strict: Settings) -> None:
    count = 2 * PAGE + 50
    leading = Leading(server, keys, strict)
    book.put(*(f"t{number}" for number in range(count)), every=3600.0, since=hours_ago(book, 1))
    leading.read()
    sizes = Counter[str]()

    def sized(effect: Effect, perform: Callable[[], Any]) -> Any:
        if isinstance(effect, Call) and effect.script.name == "slot":
            sizes[str((len(effect.args) - 6) // 12)] += 1
        return perform()

    tick = drive(leading.ticker.tick(leading.lease), server, sized)
    while tick.next <= tick.now:
        tick = leading.tick()
    assert len(book.queued()) == len(set(book.queued())) == count
    assert sizes[str(BATCH)] == 10


def test_a_long_backlog_of_some_keeps_no_other_waiting(fake: Redis, keys: Keys, settings: Settings, clock: Any) -> None:
    mine = Registry(fake, keys)
    leading = Leading(fake, keys, settings)
    mine.put(*(f"late{number}" for number in range(10)), every=1.0, misfire="all")
    mine.put("on-time", cron="* * * * *")
    leading.work()
    clock.now += 60_000
    tick = leading.tick()
    assert tick.outcome == "done"
    assert tick.next is not None
    assert tick.next <= tick.now, "there is more to be done"
    assert len(mine.slots("on-time")) == 1
    leading.work()
    for number in range(10):
        slots = mine.slots(f"late{number}")
        assert_seamless(slots, 1_000)
        assert len(slots) == 60


def test_days_pass_slot_by_slot_on_a_clock_that_is_moved(fake: Redis, keys: Keys, settings: Settings, clock: Any) -> None:
    # As users' own tests do it: the clock is moved to whatever is due next.
    mine = Registry(fake, keys)
    solo = SoloScheduler(keys, settings)
    mine.put("t", cron="0 6 * * *", timezone="Europe/Berlin", misfire="skip")
    mine.put("u", every=21_600.0, misfire="skip")
    end = clock.now + 3 * 24 * HOUR
    while (following := run_sync(solo.run_due(), fake)) <= end:
        assert following > clock.now
        clock.now = following
    assert [slot // HOUR % 24 for slot in mine.slots("t")] == [5, 5, 5]
    assert_seamless(mine.slots("u"), 6 * HOUR)
    assert len(mine.slots("u")) == 12
