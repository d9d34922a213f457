"""From a file with schedules to what the registry says about its tasks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from redis import Redis

from taskq.registry.changes.reading import read_record
from taskq.registry.changes.registry import Registry
from taskq.registry.effects import run_sync
from taskq.registry.errors import InvalidInput
from taskq.registry.inspection import describe
from taskq.registry.inspection.found import found_tasks
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

SOURCE = """
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo
from taskq import Task, TaskContext, task

BERLIN = ZoneInfo("Europe/Berlin")

@task(every=timedelta(seconds=30), cron="0 6 * * 1-5", timezone="Europe/Berlin", at=datetime(2027, 1, 1, 9, tzinfo=BERLIN), overlap="skip")
def sync(ctx: TaskContext, region: str = "eu"):
    ...

class Report(Task):
    @classmethod
    def metadata(cls):
        return {"cron": "@daily", "misfire": "skip"}

    def execute(self, **extra: int):
        ...

@task
def plain(needed: int):
    ...
"""


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    with Registry(settings=settings, who="tester") as made:
        yield made


def test_schedules_come_through_the_inspection_and_are_shown(registry: Registry) -> None:
    registry.register_source("jobs.py", SOURCE.encode())
    schedules = {row["task"]: row["schedules"] for row in registry.list()}
    assert schedules == {
        "plain": [],
        "report": [{"schedule": "cron @daily", "timezone": "UTC"}],
        "sync": [
            {"schedule": "every 30s", "timezone": None},
            {"schedule": "cron 0 6 * * 1-5 Europe/Berlin", "timezone": "Europe/Berlin"},
            {"schedule": "at 2027-01-01T09:00:00+01:00", "timezone": "Europe/Berlin"},
        ],
    }
    shown = registry.show("sync")
    assert shown["schedules"] == schedules["sync"]
    assert (shown["spec"]["every"], shown["spec"]["at"], shown["spec"]["overlap"]) == (30.0, "2027-01-01T09:00:00+01:00", "skip")
    assert registry.show("report")["spec"]["misfire"] == "skip"


def test_who_inspects_on_a_worker_gets_the_same(registry: Registry) -> None:
    specs = {task.name: task.spec for task in found_tasks(describe(SOURCE.encode(), "jobs.py"), "jobs.py")}
    registry.register_source("jobs.py", SOURCE.encode())
    for name, spec in specs.items():
        assert registry.show(name)["spec"]["every"] == spec.every
        assert registry.show(name)["spec"]["at"] == spec.at


def test_another_schedule_is_another_version_and_the_difference_is_shown(registry: Registry) -> None:
    registry.register_source("jobs.py", SOURCE.encode())
    changed = SOURCE.replace("seconds=30", "seconds=10").encode()
    assert {row["version"] for row in registry.register_source("jobs.py", changed)} == {2}
    assert registry.register_source("jobs.py", changed)[0]["state"] == "unchanged"
    difference = registry.diff("sync", 1, 2)
    assert '-  "every": 30.0,\n+  "every": 10.0,\n' in difference
    assert registry.show("sync")["schedules"][0]["schedule"] == "every 10s"
    registry.rollback("sync")
    assert registry.show("sync")["schedules"][0]["schedule"] == "every 30s"


def test_a_schedule_that_depends_on_what_is_around_the_file_is_a_version_of_the_same_code(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content of a version is its code *and* its spec."""
    source = b"import os\nfrom taskq import task\n@task(every=os.environ['LANG'])\ndef job(): ...\n"
    documents = []
    for period in ("30s", "10s"):
        monkeypatch.setenv("LANG", period)
        documents += registry.register_source("job.py", source)
    assert [row["version"] for row in documents] == [1, 2]
    assert len({row["digest"] for row in documents}) == 1
    assert '"every": 10.0' in registry.diff("job", 1, 2)


@pytest.mark.parametrize(
    ("declaration", "told"),
    [
        ("@task(every='30s')\ndef job(region, day: int = 1): ...", r"task job: .*passes no parameters, but region must be given"),
        ("@task(cron='0 0 30 2 *')\ndef job(): ...", r"task job: cron '0 0 30 2 \*' never comes"),
        ("@task(at='2026-12-01T09:00')\ndef job(): ...", r"task job: at: '2026-12-01T09:00' has no time zone"),
    ],
)
def test_a_schedule_that_can_not_be_kept_is_refused_at_registration(registry: Registry, declaration: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=rf"job\.py: {told}"):
        registry.register_source("job.py", f"from taskq import task\n{declaration}\n".encode())
    assert registry.revision == 0


def test_a_record_says_when_it_was_changed(registry: Registry, redis: Redis, keys: Keys) -> None:
    def changed_at() -> float:
        return run_sync(read_record(keys, "report"), redis).changed_at

    def now() -> float:
        seconds, microseconds = redis.time()
        return seconds + microseconds / 1e6

    before = now()
    registry.register_source("jobs.py", SOURCE.encode())
    registered = changed_at()
    assert before <= registered <= now()
    registry.pause("report")
    paused = changed_at()
    assert registered < paused <= now()
    registry.pause("sync")
    assert changed_at() == paused
    assert timedelta(seconds=paused - registered) < timedelta(minutes=1)
