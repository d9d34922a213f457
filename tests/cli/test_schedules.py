"""`schedules`: what is due when, with and without a scheduler."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.scheduling import Registry

from taskq.producer.scheduler.ticker import SoloScheduler
from taskq.registry import clock
from taskq.registry.effects import run_sync
from taskq.registry.keys import Keys
from taskq.registry.model.scheduler import SchedulerReport
from taskq.registry.settings import Settings

HOUR = 3_600_000


@pytest.fixture
def registry(redis: Redis, keys: Keys) -> Registry:
    return Registry(redis, keys)


def iso(ms: float) -> str | None:
    return clock.iso(ms / 1000)


def alive(redis: Redis, keys: Keys) -> None:
    """A scheduler reports itself."""
    report = SchedulerReport(scheduler="s1", state="leader", heartbeat=clock.now())
    redis.hset(keys.schedulers, "s1", report.dump())


def test_without_a_scheduler_the_next_slots_are_the_registrys_and_it_is_warned(shell: Any, registry: Registry) -> None:
    registry.put("b", every=3600.0, cron="0 6 * * *", timezone="Europe/Berlin")
    registry.put("a", at="2001-01-01T00:00:00+00:00")
    registry.put("unscheduled")
    registry.put("retired", every=5.0)
    registry.set_state("retired", "retired")
    registry.set_state("a", "paused")
    result = shell("schedules", "--json")
    rows = shell.json("schedules")
    assert [(row["task"], row["schedule"], row["timezone"]) for row in rows] == [
        ("a", "at 2001-01-01T00:00:00+00:00", None),
        ("b", "every 1h", None),
        ("b", "cron 0 6 * * * Europe/Berlin", "Europe/Berlin"),
    ]
    assert rows[0] == rows[0] | {"next": None, "last": None, "misfires": 0, "paused": True}
    assert rows[1] == rows[1] | {"next": iso(registry.now() // HOUR * HOUR + HOUR), "last": None, "misfires": 0, "paused": False}
    assert datetime.fromisoformat(rows[2]["next"]).astimezone(UTC) > datetime.now(UTC)
    assert "No scheduler runs" in result.stderr
    assert "taskq scheduler" in result.stderr


def test_with_a_scheduler_they_are_those_that_it_waits_for(
    shell: Any, registry: Registry, redis: Redis, keys: Keys, settings: Settings
) -> None:
    newest = registry.now() // HOUR * HOUR
    strict = settings.model_copy(update={"misfire_after": 0.0})
    registry.put("t", every=3600.0, at="2001-01-01T00:00:00+00:00", since=newest - 2 * HOUR - 1)
    run_sync(SoloScheduler(keys, strict).run_due(), redis)
    redis.zadd(keys.scheduler_due, {"t|every 1h": newest + 2 * HOUR})
    alive(redis, keys)
    result = shell("schedules", "--json")
    every, moment = shell.json("schedules")
    assert every == every | {"next": iso(newest + 2 * HOUR), "last": iso(newest), "misfires": 2}
    assert moment == moment | {"next": None, "last": None}
    assert result.stderr == ""


def test_people_see_a_table(shell: Any, registry: Registry, redis: Redis, keys: Keys) -> None:
    assert "no schedules; a task gets one by" in shell("schedules").stdout
    registry.put("t", every=3600.0)
    registry.set_state("t", "paused")
    alive(redis, keys)
    heads, row = shell("schedules").stdout.splitlines()
    assert heads.split() == ["TASK", "SCHEDULE", "NEXT", "LAST", "MISFIRES", "PAUSED"]
    assert row.startswith("t     every 1h  20")
    assert "(in " in row
    assert row.split()[-3:] == ["-", "0", "paused"]


def test_of_many_people_see_the_first_unless_they_ask_for_all(shell: Any, registry: Registry) -> None:
    registry.put(*(f"t{number}" for number in range(205)), every=60.0)
    shown = shell("schedules")
    assert len(shown.stdout.splitlines()) == 201
    assert "200 of 205" in shown.stderr
    assert len(shell("schedules", "--all").stdout.splitlines()) == 206


def test_what_another_release_wrote_is_passed_over(shell: Any, registry: Registry, redis: Redis, keys: Keys) -> None:
    registry.put("t", every=3600.0)
    redis.hset(keys.registry, "foreign", b"\xc1\x63other")
    redis.hset(keys.scheduler_state, "t|every 1h", b"\xc1\x63other")
    (row,) = shell.json("schedules")
    assert (row["task"], row["last"], row["misfires"]) == ("t", None, 0)


def test_who_registers_a_time_that_has_passed_is_told(shell: Any, tmp_path: Path) -> None:
    file = tmp_path / "once.py"
    text = "from taskq import task\n@task(at='{}-01-01T00:00:00Z')\ndef once():\n    pass\n"
    file.write_text(text.format(2001))
    told = shell("register", str(file))
    assert told.exit_code == 0
    assert "once: 'at 2001-01-01T00:00:00+00:00' has passed" in told.stderr
    file.write_text(text.format(2101))
    assert "has passed" not in shell("register", str(file)).stderr
