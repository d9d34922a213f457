"""Scheduler processes: precise, killed, stopped and woken, without Redis, and in step with the registry."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from support.command import Command, as_a_user
from support.scheduling import Registry, Schedulers, assert_seamless
from support.waiting import until

from taskq.registry.clock import rq_parse
from taskq.registry.connect import connect
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

pytestmark = pytest.mark.process


# -- alone -------------------------------------------------------------------------------------------------
def test_slots_are_fired_in_time_and_none_is_missed_or_doubled(
    schedulers: Schedulers, registry: Registry, redis: Redis, keys: Keys
) -> None:
    schedulers.start()
    registry.put("t", every=0.2)
    slots = until(lambda: len(found := registry.slots("t")) >= 15 and found, 10, schedulers.texts())
    assert_seamless(slots, 200)
    enqueued = dict(redis.zrange(keys.runs_of("t"), 0, -1, withscores=True))
    late = sorted(enqueued[run.encode()] * 1000 - slot for run, slot in zip(registry.queued(), slots, strict=False))
    assert late[0] >= 0, "never early"
    assert late[len(late) // 2] < 50


def test_a_scheduler_that_has_nothing_to_do_asks_little(schedulers: Schedulers, redis: Redis) -> None:
    schedulers.start()
    schedulers.until_leads("s1")
    with redis.monitor() as monitor:
        monitor.next_command()
        began, asked = time.monotonic(), 0
        while time.monotonic() < began + 3:
            asked += monitor.next_command()["client_type"] != "lua"
    assert asked / 3 < 15, "most of it are the renewals of leases of one second and a heartbeat each half"


def test_it_ends_cleanly_and_frees_the_lead(schedulers: Schedulers, redis: Redis, keys: Keys) -> None:
    first = schedulers.start()
    schedulers.until_leads("s1")
    until(lambda: [report.state for report in schedulers.reports()] == ["leader"])
    first.send(signal.SIGTERM)
    assert first.process.wait(5) == 0
    assert not redis.exists(keys.scheduler_lease, keys.schedulers)
    second = schedulers.start()
    schedulers.until_leads("s2")
    second.send(signal.SIGINT)
    assert second.process.wait(5) == 0


def test_its_memory_is_closed_to_others(quick: Settings, tmp_path: Path) -> None:
    command, log = Command(quick, tmp_path), tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(as_a_user(command.argv("scheduler", "--name", "s9")), env=command.environ, stdout=out, stderr=out)
    try:
        until(lambda: "s9 leads" in log.read_text(), 30, "it leads")
        seen = subprocess.run(as_a_user(["cat", f"/proc/{process.pid}/environ"]), capture_output=True, check=False)
        assert (seen.returncode, seen.stdout) == (1, b"")
        assert b"Permission denied" in seen.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_it_says_that_redis_cannot_be_reached_at_the_start(quick: Settings, tmp_path: Path) -> None:
    command = Command(quick, tmp_path)
    command.environ["TASKQ_REDIS_URL"] = "redis://127.0.0.1:1"
    assert "can't be reached" in command("scheduler", code=5).stderr
    assert "is not a valid name" in command("scheduler", "--name", "a b", code=2).stderr


def test_runs_that_are_due_later_are_moved_when_they_are(
    schedulers: Schedulers, quick: Settings, tmp_path: Path, registry: Registry, redis: Redis, keys: Keys
) -> None:
    schedulers.start()
    registry.put("t")
    run = Command(quick, tmp_path).json("run", "t", "--in", "1s")["run"]
    due = redis.zscore(keys.scheduler_runs, run)
    assert due
    until(lambda: registry.queued() == [run], 5, schedulers.texts())
    queued = redis.hget(keys.rq_job(run), "enqueued_at")
    assert 0 <= (rq_parse(queued) or 0) - due / 1000 < 0.3, "it was woken: it would have slept for two seconds"
    assert not redis.exists(keys.scheduler_runs)


# -- several -----------------------------------------------------------------------------------------------
def test_one_leads_the_others_stand_by_and_take_over_from_one_that_was_killed(schedulers: Schedulers, registry: Registry) -> None:
    first = schedulers.start()
    schedulers.until_leads("s1")
    schedulers.start()
    until(lambda: [(report.scheduler, report.state) for report in schedulers.reports()] == [("s1", "leader"), ("s2", "standby")])
    registry.put("t", every=0.1)
    until(lambda: registry.slots("t"))
    first.kill()
    began = time.monotonic()
    schedulers.until_leads("s2")
    assert time.monotonic() - began < 2 * schedulers.settings.scheduler_lease
    at = registry.slots("t")[-1]
    assert_seamless(until(lambda: (found := registry.slots("t"))[-1] > at + 500 and found), 100)


def test_a_leader_that_resigns_is_followed_at_once(schedulers: Schedulers) -> None:
    slow = schedulers.settings.model_copy(update={"scheduler_lease": 30.0, "lease": 30.0})
    schedulers.settings = slow
    first = schedulers.start()
    schedulers.until_leads("s1")
    schedulers.start()
    until(lambda: "stands by" in schedulers.texts())
    began = time.monotonic()
    first.send(signal.SIGTERM)
    schedulers.until_leads("s2")
    assert time.monotonic() - began < 3, "the lease is 30 s"


def test_a_leader_that_was_stopped_and_wakes_up_writes_nothing(
    schedulers: Schedulers, registry: Registry, redis: Redis, keys: Keys
) -> None:
    first = schedulers.start()
    schedulers.until_leads("s1")
    schedulers.start()
    registry.put("t", every=0.1)
    until(lambda: len(registry.slots("t")) > 3)
    first.send(signal.SIGSTOP)
    schedulers.until_leads("s2")
    at = registry.slots("t")[-1]
    until(lambda: registry.slots("t")[-1] > at + 500)
    first.send(signal.SIGCONT)
    until(lambda: "s1 has lost the lead" in first.text() or "stands by; s2 leads" in first.text(), 5, schedulers.texts())
    at = registry.slots("t")[-1]
    slots = until(lambda: (found := registry.slots("t"))[-1] > at + 1_000 and found)
    assert_seamless(slots, 100)
    assert schedulers.leader() == "s2"


def test_the_leader_forgets_schedulers_that_went_silent(schedulers: Schedulers, redis: Redis, keys: Keys) -> None:
    gone = schedulers.start(TASKQ_WORKER_TTL="0.5", TASKQ_HEARTBEAT="0.1")
    until(lambda: redis.hexists(keys.schedulers, "s1"))
    gone.kill()
    schedulers.start(TASKQ_WORKER_TTL="0.5", TASKQ_HEARTBEAT="0.1")
    until(lambda: [name.decode() for name in redis.hkeys(keys.schedulers)] == ["s2"], 10)


def test_three_schedulers_killed_and_stopped_at_random_double_and_miss_nothing(schedulers: Schedulers, registry: Registry) -> None:
    # Given 60 schedules of two slots a second, and three schedulers
    dice = random.Random(7)  # the same course each time
    tasks = [f"t{number}" for number in range(60)]
    for _ in range(3):
        schedulers.start()
    registry.put(*tasks, every=0.5)
    # When one after the other is killed, or stopped for longer than the lease
    for round_ in range(4):
        leader = until(schedulers.leader, 5)
        victim = next(scheduler for scheduler in schedulers.all if scheduler.name == leader)
        if dice.random() < 0.5:
            victim.kill()
            schedulers.start(ready=False)
        else:
            victim.send(signal.SIGSTOP)
        count = len(registry.queued())
        until(lambda count=count: len(registry.queued()) > count + 120, 8, f"round {round_}\n{schedulers.texts()}")
        if victim.process.poll() is None:
            victim.send(signal.SIGCONT)
    # Then each schedule has each of its slots once, in order
    until(lambda: len(registry.queued()) > 1_000, 10)
    for task in tasks:
        registry.set_state(task, "retired")
    until(lambda: len({*map(len, ends := [registry.slots(task) for task in tasks])}) <= 2 and ends)
    for task in tasks:
        assert_seamless(registry.slots(task), 500)


# -- the registry ------------------------------------------------------------------------------------------
def test_changes_take_effect_within_a_second(schedulers: Schedulers, registry: Registry) -> None:
    def nothing_comes(task: str) -> bool:
        """No slot after now, for as long as several of them would have come."""
        count, end = len(registry.slots(task)), time.monotonic() + 0.4
        until(lambda: time.monotonic() > end)
        return len(registry.slots(task)) == count

    def changed_at() -> int:
        return registry.now()

    schedulers.start()
    schedulers.until_leads("s1")
    # A new one
    registry.put("t", every=0.1, misfire="skip")
    until(lambda: registry.slots("t"), 1)
    # Paused: not one slot after the change
    registry.set_state("t", "paused")
    at = changed_at()
    assert nothing_comes("t")
    assert registry.slots("t")[-1] <= at
    # Resumed: the next slots, none of those in between
    registry.set_state("t", "active")
    at = changed_at()
    until(lambda: registry.slots("t")[-1] > at, 1)
    # Changed, and back again as by a rollback
    registry.put("t", every=0.25, misfire="skip", version=2)
    at = changed_at()
    until(lambda: registry.slots("t")[-1] > at + 300, 2)
    assert all(slot % 250 == 0 for slot in registry.slots("t") if slot > at)
    registry.put("t", every=0.1, misfire="skip")
    at = changed_at()
    until(lambda: any(slot % 250 for slot in registry.slots("t") if slot > at), 1)
    # Removed, brought back, retired
    registry.put("t")
    assert nothing_comes("t")
    registry.put("t", every=0.1)
    at = changed_at()
    until(lambda: registry.slots("t")[-1] > at, 1)
    registry.set_state("t", "retired")
    assert nothing_comes("t")


def test_changes_take_effect_without_pubsub(schedulers: Schedulers, registry: Registry) -> None:
    schedulers.start(TASKQ_PUBSUB="off", TASKQ_POLL="0.3")
    schedulers.until_leads("s1")
    registry.put("t", every=0.1)
    until(lambda: len(registry.slots("t")) > 5, 2)
    registry.set_state("t", "retired")
    at = registry.now()
    until(lambda: registry.now() > at + 500)
    assert registry.slots("t")[-1] <= at


def test_garbage_on_the_channels_is_no_more_than_a_reason_to_look(
    schedulers: Schedulers, registry: Registry, redis: Redis, keys: Keys
) -> None:
    def calls() -> int:
        return int(redis.info("commandstats")["cmdstat_evalsha"]["calls"])

    schedulers.start()
    registry.put("t", every=0.1)
    until(lambda: registry.slots("t"))
    before, began = calls(), time.monotonic()
    while time.monotonic() < began + 1:
        for channel in (keys.scheduler_wake, keys.changes):
            redis.publish(channel, b"\xff\x00{[due")
    assert calls() - before < 500, "a flood is looked at a hundred times a second, not for each message"
    at = registry.now()
    slots = until(lambda: (found := registry.slots("t"))[-1] > at + 300 and found)
    assert_seamless(slots, 100)
    assert "Traceback" not in schedulers.texts()


def test_a_pause_ends_with_the_slot_that_it_held(schedulers: Schedulers, registry: Registry) -> None:
    schedulers.start()
    registry.put("t", every=0.3)
    until(lambda: registry.slots("t"))
    registry.set_state("t", "paused")
    at = registry.slots("t")[-1]
    held = until(lambda: (registry.state("t|every 300ms").held or 0) > at + 600 and registry.state("t|every 300ms").held, 5)
    registry.set_state("t", "active")
    slots = until(lambda: (found := registry.slots("t"))[-1] > at + 1_500 and found)
    after = [slot for slot in slots if slot > at]
    assert after[0] >= held
    assert_seamless(after, 300)
    assert registry.state("t|every 300ms").misfires == (after[0] - at) // 300 - 1


def test_slots_missed_while_no_scheduler_ran_follow_the_policy(schedulers: Schedulers, registry: Registry) -> None:
    since = registry.now() - 10_000
    for misfire in ("once", "skip", "all"):
        registry.put(misfire, every=1.0, misfire=misfire, since=since)
    schedulers.start(TASKQ_MISFIRE_AFTER="4.5")
    until(lambda: len(registry.slots("all")) >= 10)
    late = registry.slots("all")[:4]
    assert_seamless(registry.slots("all"), 1_000)
    assert len(set(registry.slots("once")) & set(late)) <= 1
    assert not set(registry.slots("skip")) & set(late)
    assert registry.state("skip|every 1s").misfires == registry.state("once|every 1s").misfires + 1 >= 5


# -- Redis -------------------------------------------------------------------------------------------------
@pytest.fixture
def own(own_server: Any, quick: Settings, tmp_path: Path) -> Any:
    """Schedulers, a registry and a connection on a server that may be killed."""
    own = quick.model_copy(update={"redis_url": own_server.url})
    with connect(own) as client:
        made = Schedulers(own, client, tmp_path)
        try:
            yield made, Registry(client, made.keys), own_server
        finally:
            if own_server.process is None:
                own_server.start()
            made.stop()


def test_a_redis_that_is_killed_and_started_again_costs_no_slot(own: Any) -> None:
    schedulers, registry, server = own
    schedulers.start()
    schedulers.start()
    registry.put("t", every=0.1)
    until(lambda: len(registry.slots("t")) > 3)
    server.kill()
    until(lambda: "Redis is away" in schedulers.texts())
    server.start()
    at = registry.now()
    slots = until(lambda: (found := registry.slots("t"))[-1] > at + 1_000 and found, 12, schedulers.texts())
    assert_seamless(slots, 100)


def test_a_redis_that_comes_back_empty_is_no_crash(own: Any) -> None:
    schedulers, registry, _ = own
    first = schedulers.start()
    registry.put("t", "u", every=0.1)
    until(lambda: len(registry.slots("t")) > 3)
    registry.redis.flushall()
    until(lambda: [report.revision for report in schedulers.reports()] == [0])
    registry.put("t", every=0.1)
    until(lambda: len(registry.slots("t")) > 3, 10, schedulers.texts())
    assert registry.slots("u") == []
    assert first.process.poll() is None
    assert "Traceback" not in schedulers.texts()


def test_an_outage_costs_two_connection_attempts_a_second(own: Any) -> None:
    schedulers, _, server = own
    schedulers.start()
    schedulers.until_leads("s1")
    attempts: list[float] = []
    with socket.socket(socket.AF_UNIX) as door:
        server.kill()
        door.bind(str(server.socket))
        door.listen(64)
        door.setblocking(False)
        end = time.monotonic() + 4
        until(lambda: time.monotonic() > end or knocked(door, attempts), 6, "four seconds passed")
        server.socket.unlink()
    server.start()
    schedulers.until_leads("s1")
    assert len(attempts) <= 9, f"one of each of six loops, before any knows of it, then the three of the probe: {attempts}"


def knocked(door: socket.socket, attempts: list[float]) -> None:
    """Let in and turn away who is at the door."""
    with contextlib.suppress(BlockingIOError):
        while True:
            door.accept()[0].close()
            attempts.append(time.monotonic())


def test_a_scheduler_can_be_ended_while_redis_is_away(own: Any) -> None:
    schedulers, _, server = own
    first = schedulers.start()
    schedulers.until_leads("s1")
    server.kill()
    until(lambda: "Redis is away" in first.text(), 5)
    first.send(signal.SIGTERM)
    assert first.process.wait(5) == 0


def test_a_scheduler_can_be_ended_while_redis_hangs(own: Any) -> None:
    schedulers, _, server = own
    first = schedulers.start(TASKQ_SOCKET_TIMEOUT="3")
    schedulers.until_leads("s1")
    server.process.send_signal(signal.SIGSTOP)
    try:
        first.send(signal.SIGTERM)
        assert first.process.wait(5.5) == 0, "what is waited for is one reply, not one after the other"
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_a_machine_whose_clock_is_wrong_fires_by_the_clock_of_redis(schedulers: Schedulers, registry: Registry, tmp_path: Path) -> None:
    # Its wall clock is two hours ahead.
    (tmp_path / "sitecustomize.py").write_text("import time\nreal = time.time\ntime.time = lambda: real() + 7200\n")
    wrong = schedulers.start(PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    registry.put("t", every=0.2)
    registry.put("later", at="2100-01-01T00:00:00+00:00")
    slots = until(lambda: len(found := registry.slots("t")) > 5 and found, 5, schedulers.texts())
    assert slots[-1] <= registry.now()
    assert_seamless(slots, 200)
    assert "this machine's clock is 7200.0 s ahead of Redis'" in wrong.text()
    assert registry.slots("later") == []


def test_it_leaves_no_process_behind(schedulers: Schedulers) -> None:
    scheduler = schedulers.start()
    assert psutil.Process(scheduler.process.pid).children() == []
