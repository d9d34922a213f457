"""What times mean: zones of datetimes, of cron expressions and of the machine; the grid of an interval."""
# ruff: noqa: DTZ901  # times without a zone are what users of rq-scheduler write

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from support.command import environment

from taskq.producer.scheduler.jobs import times
from taskq.producer.scheduler.jobs.repeats import Repeat, by_cron, every, from_meta
from taskq.registry.settings import Settings

SCORES = """
import json, os, time
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo
from redis import Redis
from taskq.producer.scheduler import FleetScheduler
from taskq.registry.settings import Settings
settings = Settings.load()
scheduler = FleetScheduler(connection=Redis.from_url(settings.redis_url), settings=settings)
made = {
    "naive": scheduler.enqueue_at(datetime(2040, 7, 1, 12), "os.getpid"),
    "utc": scheduler.enqueue_at(datetime(2040, 7, 1, 12, tzinfo=UTC), "os.getpid"),
    "aware": scheduler.enqueue_at(datetime(2040, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")), "os.getpid"),
    "in": scheduler.enqueue_in(timedelta(days=1), "os.getpid"),
    "cron": scheduler.cron("30 6 * * *", "os.getpid"),
    "local": scheduler.cron("30 6 * * *", "os.getpid", use_local_timezone=True),
}
scores = {name: scheduler.connection.zscore(scheduler.scheduled_jobs_key, job.id) for name, job in made.items()}
shown = {job.id: when.isoformat() for job, when in scheduler.get_jobs(with_times=True)}
print(json.dumps({"scores": scores, "shown": {name: shown[job.id] for name, job in made.items()},
    "until": [scheduler.count(datetime(2040, 7, 1, 11)), scheduler.count(datetime(2040, 7, 1, 12))], "now": time.time()}))
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("zone", "iana"),
    [
        ("America/New_York", "America/New_York"),
        ("Asia/Kolkata", "Asia/Kolkata"),
        ("UTC", "UTC"),
        ("", "UTC"),
        (":Pacific/Chatham", "Pacific/Chatham"),
        ("/usr/share/zoneinfo/Australia/Lord_Howe", "Australia/Lord_Howe"),
    ],
)
def test_the_zone_of_the_machine_matters_only_where_it_is_asked_for(settings: Settings, redis: Redis, zone: str, iana: str) -> None:
    command = [sys.executable, "-W", "error", "-c", SCORES]
    done = subprocess.run(command, env=environment(settings, TZ=zone), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    scores = said["scores"]
    noon = datetime(2040, 7, 1, 12, tzinfo=UTC).timestamp()
    assert (scores["naive"], scores["utc"], scores["aware"]) == (noon, noon, noon - 7200)
    assert said["shown"]["naive"] == "2040-07-01T12:00:00"
    assert said["until"] == [4, 6]
    assert abs(scores["in"] - said["now"] - 86_400) < 10
    for name, where in (("cron", UTC), ("local", ZoneInfo(iana))):
        first = datetime.fromtimestamp(scores[name], where)
        assert (first.hour, first.minute, first.second) == (6, 30, 0)
        assert 0 < scores[name] - said["now"] <= 25 * 3600


def test_a_zone_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Nowhere+3")
    with pytest.raises(ValueError, match="use_local_timezone=True: this machine's time zone has no IANA name"):
        by_cron("0 6 * * *", local=True)
    assert by_cron("0 6 * * *", local=False).timezone == "UTC"


def test_the_zone_of_the_machine_is_found_without_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    link, copy, name = tmp_path / "localtime", tmp_path / "copy", tmp_path / "timezone"
    target = tmp_path / "zoneinfo" / "Asia" / "Tokyo"
    target.parent.mkdir(parents=True)
    target.touch()
    link.symlink_to(target)
    copy.touch()
    name.write_text("Africa/Cairo\n")
    monkeypatch.setattr(times, "_TIMEZONE", name)
    for path, expected in [(link, "Asia/Tokyo"), (copy, "Africa/Cairo"), (tmp_path / "none", "UTC")]:
        monkeypatch.setattr(times, "_LOCALTIME", path)
        assert times.local_zone() == expected
    name.unlink()
    monkeypatch.setattr(times, "_LOCALTIME", copy)
    with pytest.raises(ValueError, match="is a copy"):
        times.local_zone()


# -- datetimes -------------------------------------------------------------------------------------------------
@given(st.datetimes(timezones=st.none() | st.timezones()))
def test_a_datetime_comes_back_as_the_same_moment(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    back = times.from_unix(float(times.text(times.to_unix(moment))))
    assert abs(back - aware) <= timedelta(microseconds=32), "the precision of a float in the year 9999"
    if 1970 <= aware.year < 2100:
        assert abs(back - aware) <= timedelta(microseconds=1)


def test_what_lies_behind_the_calendar_is_its_end() -> None:
    assert times.from_unix(times.to_unix(datetime.max)).replace(tzinfo=None) == datetime.max
    assert times.from_unix(1e15).year == 9999


# -- how a job repeats -----------------------------------------------------------------------------------------
NOW = 1_800_000_000


@given(
    due=st.integers(NOW * 10**6 - 10**13, NOW * 10**6 + 10**12),
    interval=st.integers(100_000, 10**12),
    late=st.integers(0, 10**13),
)
def test_the_next_time_of_an_interval_is_the_first_on_its_grid_behind_now(due: int, interval: int, late: int) -> None:
    now = (due + late) / 1e6
    found = Repeat(interval=interval / 1e6).next_time(due / 1e6, now)
    assert found is not None
    assert found > now
    steps = round((found - due / 1e6) / (interval / 1e6))
    assert abs(found * 1e6 - (due + steps * interval)) <= 2, "on the grid"
    assert found - interval / 1e6 <= now + 2e-6, "the first one"


def test_intervals_hold_over_many_times() -> None:
    due = first = NOW + 0.123456
    for _ in range(10_000):
        following = Repeat(interval=0.1).next_time(due, due + 0.004)
        assert following is not None
        due = following
    assert abs(due - first - 1000) < 1e-4


def test_the_first_time_may_be_put_before_the_one_that_was_due() -> None:
    assert Repeat(interval=86_400).next_time(NOW + 3600, NOW) == NOW + 3600, "enqueued by hand, an hour early: that hour's is still to come"
    assert Repeat(interval=60).next_time(NOW + 3600, NOW) == NOW + 60


def test_a_job_that_was_handed_over_for_the_last_time_has_no_next_one() -> None:
    for repeat in (Repeat(), Repeat(interval=60, left=1), Repeat(interval=60, left=0), Repeat(cron="* * * * *", left=1)):
        assert repeat.next_time(NOW, NOW) is None
    assert Repeat(interval=60, left=2).next_time(NOW, NOW) == NOW + 60
    assert Repeat(interval=60, left=2).moved() == Repeat(interval=60, left=1)


def test_cron_in_a_zone_follows_its_clocks() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()
    rule = Repeat(cron="30 6 * * *", timezone="Europe/Berlin")
    shown = []
    for _ in range(3):
        found = rule.first_time(before)
        assert found is not None
        shown.append(datetime.fromtimestamp(found, UTC))
        before = found
    assert [(moment.day, moment.hour) for moment in shown] == [(29, 4), (30, 4), (31, 4)]
    assert datetime.fromtimestamp(rule.first_time(datetime(2026, 3, 27, tzinfo=UTC).timestamp()) or 0, UTC).hour == 5


def test_a_record_is_kept_small() -> None:
    assert Repeat.load(Repeat(interval=60).dump()) == Repeat(interval=60)
    assert len(Repeat(interval=60, left=3).dump()) < 40


@pytest.mark.parametrize(
    ("given_", "kept"), [(None, None), (0, 0), (60, 60), (2.5, 2.5), (60.0, 60), ("90s", 90), (timedelta(minutes=2), 120)]
)
def test_an_interval_may_be_written_as_any_duration(given_: Any, kept: Any) -> None:
    assert every(given_) == kept
    assert type(every(given_)) is type(kept)


def test_meta_says_how_and_the_record_how_often() -> None:
    stored = Repeat(interval=60, left=4, queue_prefix="own:")
    assert from_meta({"interval": 30, "repeat": 9}, stored) == Repeat(interval=30, left=4, queue_prefix="own:")
    assert from_meta({"interval": 30, "repeat": 9}, None) == Repeat(interval=30, left=9)
    assert from_meta({}, stored).repeats is False
    berlin = Repeat(cron="0 6 * * *", timezone="Europe/Berlin")
    assert from_meta({"cron_string": "0 6 * * *", "use_local_timezone": True}, berlin) == berlin
    assert from_meta({"cron_string": "0 7 * * *"}, berlin) == Repeat(cron="0 7 * * *")
