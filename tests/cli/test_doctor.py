"""`doctor`: what it finds, and what it says to do."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from redis import Redis
from support.hands import put_task

from taskq.cli.overview import clock_skew
from taskq.commands.doctor import _clock, _memory, _server
from taskq.registry import clock
from taskq.registry.keys import Keys
from taskq.registry.model.scheduler import SchedulerReport
from taskq.registry.model.spec import Spec
from taskq.registry.model.worker import LoadReport, WorkerReport


def found(shell: Any, code: int) -> dict[str, dict[str, Any]]:
    document = shell.json("doctor", code=code)
    assert document["ok"] is (code == 0)
    assert all(set(check) == {"name", "ok", "detail", "fix"} for check in document["checks"])
    assert all(check["fix"] for check in document["checks"] if not check["ok"])
    return {check["name"]: check for check in document["checks"]}


def report(redis: Redis, keys: Keys, **fields: Any) -> None:
    made = WorkerReport.model_validate({"worker": "w1", "state": "idle", "queues": ("default",), "executors": 2} | fields)
    redis.hset(keys.worker("w1"), "status", made.dump())
    redis.zadd(keys.workers, {"w1": clock.now()})


def report_scheduler(redis: Redis, keys: Keys, **fields: Any) -> None:
    now = clock.now()
    made = SchedulerReport.model_validate({"scheduler": "s1", "state": "leader", "heartbeat": now, "started_at": now} | fields)
    redis.hset(keys.schedulers, "s1", made.dump())


def test_a_fleet_that_is_well_is_exit_0(shell: Any, own_server: Any, keys: Keys) -> None:
    shell.environ["TASKQ_REDIS_URL"] = own_server.url
    with Redis(unix_socket_path=str(own_server.socket)) as redis:
        put_task(redis, keys, "job")
        report(redis, keys, revision=1)
        checks = found(shell, 0)
    assert "always" in checks["durability"]["detail"]
    assert "1 alive with 2 executors: w1" in checks["workers"]["detail"]
    assert "All is well." in shell("doctor").stderr


def test_what_is_wrong_is_said_with_what_to_do(shell: Any, redis: Redis, keys: Keys) -> None:
    put_task(redis, keys, "job", version=2)
    put_task(redis, keys, "mail", spec=Spec(queue="mail"))
    report(redis, keys, revision=1)
    broken = LoadReport(task="job", version=2, state="failed", error="Traceback …\nImportError: nope")
    stale = LoadReport(task="job", version=1, state="failed", error="no longer routed")
    redis.hset(keys.worker("w1"), mapping={"load:job:2": broken.dump(), "load:job:1": stale.dump(), "load:x:1": b"garbage"})
    checks = found(shell, 1)
    failed = {name for name, check in checks.items() if not check["ok"]}
    assert failed == {"durability", "revision", "queues", "loads"}
    assert checks["loads"]["detail"] == "can't be loaded: job 2 on w1 (ImportError: nope)"
    assert checks["queues"]["fix"] == "taskq worker --queues mail"
    assert "→" in shell("doctor", code=1).stdout


def test_limits_that_a_worker_can_not_hold_are_named(shell: Any, redis: Redis, keys: Keys) -> None:
    def check() -> dict[str, Any]:
        checks = {row["name"]: row for row in shell.json("doctor", code=1)["checks"]}
        return dict(checks["resources"])

    watched = {"backend": "watchdog", "enforces": ("memory", "pids"), "lacks": "version 2 is not mounted here"}
    assert check()["detail"] == "no worker is alive to hold runs to their limits"
    report(redis, keys, limits={"backend": "cgroup v1", "enforces": ("memory", "pids", "cpu")})
    assert check()["detail"] == "held by cgroup v1 on w1"
    put_task(redis, keys, "crunch", spec=Spec.model_validate({"resources": {"memory": "64M", "cpu": 1}}))
    put_task(redis, keys, "other", spec=Spec.model_validate({"queue": "mail", "resources": {"cpu": 1}}))
    assert check()["ok"]

    report(redis, keys, limits=watched)
    assert check()["detail"] == "not enforced: cpu of crunch on w1 (w1: version 2 is not mounted here)"
    assert "README" in check()["fix"]
    report(redis, keys)
    assert check()["detail"] == "not enforced: memory, cpu of crunch on w1 (they report none)"
    report(redis, keys, queues=("elsewhere",), limits=watched)
    assert check()["detail"] == "held by watchdog on w1; cpu can't be enforced on w1"


def test_without_a_server_it_says_so_and_is_exit_1(shell: Any) -> None:
    shell.environ["TASKQ_REDIS_URL"] = "redis://127.0.0.1:1"
    assert not found(shell, 1)["server"]["ok"]


def test_here_is_well_as_long_as_a_worker_of_this_host_reports_itself(shell: Any, redis: Redis, keys: Keys) -> None:
    def here(code: int) -> dict[str, Any]:
        (check,) = shell.json("doctor", "--here", code=code)["checks"]
        assert check["ok"] is (code == 0)
        return dict(check)

    host = socket.gethostname()
    assert f"no worker or scheduler of {host} is alive" in here(1)["detail"]
    report(redis, keys, host="elsewhere")
    here(1)
    report(redis, keys, host=host)
    assert "w1" in here(0)["detail"]
    report(redis, keys, host=host, state="draining")
    here(0)
    redis.zadd(keys.workers, {"w1": clock.now() - 60})
    here(1)


def test_here_is_well_where_a_scheduler_of_this_host_reports_itself(shell: Any, redis: Redis, keys: Keys) -> None:
    report_scheduler(redis, keys, host=socket.gethostname())
    assert "s1" in shell.json("doctor", "--here")["checks"][0]["detail"]


def test_schedules_without_a_scheduler_are_not_well(shell: Any, redis: Redis, keys: Keys) -> None:
    def check() -> dict[str, Any]:
        checks = {row["name"]: row for row in shell.json("doctor", code=1)["checks"]}
        return dict(checks["scheduler"])

    put_task(redis, keys, "idle")
    assert check()["ok"]
    redis.zadd(keys.scheduler_runs, {"later": 1})
    assert check()["detail"] == "none is alive: 0 schedules, 1 delayed run wait"
    put_task(redis, keys, "job", spec=Spec(every=5.0, cron="0 6 * * *"))
    assert check()["detail"] == "none is alive: 2 schedules, 1 delayed run wait"
    assert "taskq scheduler" in check()["fix"]
    report_scheduler(redis, keys, state="standby")
    assert "none of s1 leads" in check()["detail"]
    report_scheduler(redis, keys, started_at=clock.now() - 100, last_tick=clock.now() - 90)
    assert "has done nothing for 90 s" in check()["detail"]
    report_scheduler(redis, keys)
    assert check() | {"detail": ""} == {"name": "scheduler", "ok": True, "detail": "", "fix": None}
    assert check()["detail"] == "s1 leads, 0 standing by; 2 schedules, 1 delayed run"


def test_here_fails_where_the_server_does_not_answer(shell: Any) -> None:
    shell.environ["TASKQ_REDIS_URL"] = "redis://127.0.0.1:1"
    assert "can't be reached" in shell("doctor", "--here", code=1).stdout


@pytest.mark.parametrize(
    ("info", "ok"),
    [
        ({"used_memory": 10, "maxmemory": 0, "maxmemory_policy": "allkeys-lru"}, True),
        ({"used_memory": 10, "maxmemory": 100, "maxmemory_policy": "noeviction"}, True),
        ({"used_memory": 10, "maxmemory": 100, "maxmemory_policy": "volatile-lru"}, False),
        ({"used_memory": 95, "maxmemory": 100, "maxmemory_policy": "noeviction"}, False),
    ],
)
def test_memory_that_may_evict_or_is_full_is_not_well(info: dict[str, Any], ok: bool) -> None:
    assert _memory(info).ok is ok


def test_an_old_or_slow_server_and_a_skewed_clock_are_not_well() -> None:
    assert not _server({"redis_version": "6.2.1"}, 0.001).ok
    assert not _server({"redis_version": "7.0.0"}, 0.2).ok
    assert _server({"redis_version": "7.2.4", "valkey_version": "9.1.0"}, 0.001).ok
    assert not _clock(7200.0).ok
    assert "ahead" in _clock(7200.0).detail
    assert _clock(0.0).ok
    assert clock_skew(5.0, 4.9, 5.1) == 0
    assert clock_skew(7.0, 4.0, 5.0) == 2.0
    assert clock_skew(3.0, 4.0, 5.0) == -1.0
