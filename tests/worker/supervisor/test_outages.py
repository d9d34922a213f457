"""Redis away, full, or unable to write: F11 and F30; and a worker that slept past its leases: F5."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from support.fleet import Fleet
from support.tasks import FREE
from support.waiting import until

from taskq.producer.client import Client
from taskq.registry.connect import connect
from taskq.registry.errors import ServerUnreachable, TaskqError
from taskq.registry.settings import Settings

HEAD = "import time\nfrom taskq.registry import task\n"
NAP = HEAD + "@task\ndef nap(seconds: float = 0.0):\n    time.sleep(seconds)\n    return 1\n"


@pytest.fixture
def own(own_server: Any, settings: Settings, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on a server of its own."""
    made = settings.model_copy(update={"redis_url": own_server.url})
    with connect(made) as client:
        fleet = Fleet(made, client, tmp_path)
        try:
            fleet.put("nap", NAP, **FREE)
            yield fleet
        finally:
            fleet.stop()


def passed(seconds: float) -> None:
    """Let so much time pass."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, seconds + 5, "time passes")


def test_f11_outcomes_of_an_outage_longer_than_the_lease_are_recorded_once_after_it(own: Fleet, own_server: Any) -> None:
    worker = own.start(4)
    runs = own.enqueue("nap", 4, seconds=1.0)
    until(lambda: all(own.field(run, "version") for run in runs), what="all are in progress")
    executors = {child.pid for child in worker.executors()}

    own_server.kill()
    until(lambda: "Redis is away" in worker.text(), what="the worker noticed")
    with Client(settings=own.settings) as client, pytest.raises(ServerUnreachable):
        client.enqueue("nap")
    # Twice the lease, and the runs have long ended.
    passed(2 * own.settings.lease)
    own_server.start()

    for run in runs:
        assert own.result(run, 10) == 1
        assert own.field(run, "attempt") == "1"
        assert own.redis.xlen(own.keys.rq_results(run)) == 1
        assert own.attempts(run) == []
    assert worker.process.poll() is None
    assert {child.pid for child in worker.executors()} == executors
    assert own.redis.zcard(own.keys.leases) == 0
    assert own.result(own.enqueue("nap")[0]) == 1


def test_f11_a_server_that_hangs_is_an_outage_like_any_other(own: Fleet, own_server: Any) -> None:
    worker = own.start(2, TASKQ_SOCKET_TIMEOUT="1")
    runs = own.enqueue("nap", 2, seconds=0.5)
    own.running(2)

    os.kill(own_server.process.pid, signal.SIGSTOP)
    try:
        until(lambda: "Redis is away" in worker.text(), what="the worker noticed")
        passed(own.settings.lease)
    finally:
        os.kill(own_server.process.pid, signal.SIGCONT)

    for run in runs:
        assert own.result(run, 10) == 1
        assert own.redis.xlen(own.keys.rq_results(run)) == 1


def test_f30_a_full_server_takes_outcomes_and_gives_runs_until_its_queue_is_empty(fleet: Fleet) -> None:
    fleet.put("nap", NAP, **FREE)
    worker = fleet.start(2)
    runs = fleet.enqueue("nap", 40, seconds=0.05)
    fleet.redis.config_set("maxmemory", "1mb")
    try:
        with Client(settings=fleet.settings) as client, pytest.raises(TaskqError, match="full"):
            client.enqueue("nap", seconds=0.0)
        for run in runs:
            assert fleet.result(run) == 1
    finally:
        fleet.redis.config_set("maxmemory", "0")
    assert fleet.redis.llen(fleet.keys.rq_queue("default")) == fleet.redis.zcard(fleet.keys.leases) == 0
    assert "dropped" not in worker.text() and "Traceback" not in worker.text()


def test_f30_outcomes_are_held_while_the_server_can_not_persist(own: Fleet, own_server: Any) -> None:
    worker = own.start(2)
    runs = own.enqueue("nap", 4, seconds=1.0)
    own.running(2)

    with _unable_to_persist(own.redis, own_server.folder):
        with Client(settings=own.settings) as client, pytest.raises(TaskqError, match="MISCONF"):
            client.enqueue("nap", seconds=0.0)
        until(lambda: "outcomes: Redis refused" in worker.text(), what="outcomes are refused")
        passed(own.settings.lease)
        assert {own.field(run, "status") for run in runs} == {"started", "queued"}

    for run in runs:
        assert own.result(run) == 1
        assert own.redis.xlen(own.keys.rq_results(run)) == 1
    assert worker.process.poll() is None and "dropped" not in worker.text()


class _unable_to_persist:  # noqa: N801  # used like a function
    """The snapshot can't be written, since a folder stands in its place: Redis refuses every write with MISCONF."""

    def __init__(self, redis: Redis, folder: Path) -> None:
        self._redis, self._place = redis, folder / "dump.rdb"

    def __enter__(self) -> None:
        (self._place / "in the way").mkdir(parents=True)
        self._redis.config_set("save", "3600 1000000")
        self._save("err")
        with pytest.raises(ResponseError, match="MISCONF"):
            self._redis.set("probe", 1)

    def __exit__(self, *_: object) -> None:
        (self._place / "in the way").rmdir()
        self._place.rmdir()
        self._save("ok")

    def _save(self, result: str) -> None:
        self._redis.bgsave()
        until(lambda: self._redis.info("persistence")["rdb_last_bgsave_status"] == result, what=f"saving was {result}")


def test_f5_the_outcome_of_a_worker_that_slept_past_its_lease_is_refused_as_stale(fleet: Fleet) -> None:
    fleet.put("nap", NAP, **FREE)
    sleeper = fleet.start(1)
    (run,) = fleet.enqueue("nap", seconds=1.5)
    until(lambda: fleet.field(run, "version"), what="it is in progress")
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    fleet.start(1)
    # Its executor goes on, and has ended the run when the worker wakes.
    until(lambda: fleet.field(run, "worker_name") == "w1", 15, "the other worker has it")
    assert fleet.result(run) == 1
    os.kill(sleeper.process.pid, signal.SIGCONT)

    until(lambda: "stale" in sleeper.text() or "taken over" in sleeper.text(), 10, "it says so")
    assert fleet.redis.xlen(fleet.keys.rq_results(run)) == 1
    (attempt,) = fleet.attempts(run)
    assert (attempt["outcome"], attempt["worker"]) == ("worker_lost", "w0")
    ended = [json.loads(entry[b"event"])["type"] for _, entry in fleet.redis.xrange(fleet.keys.events)]
    assert ended.count("taskq.run.succeeded") == 1
    assert fleet.redis.zcard(fleet.keys.leases) == 0


def test_a_server_that_has_become_a_replica_is_an_outage_and_outcomes_wait_for_its_end(own: Fleet) -> None:
    worker = own.start(2)
    runs = own.enqueue("nap", 4, seconds=1.0)
    until(lambda: sum(bool(own.field(run, "version")) for run in runs) == 2, what="two are in progress")

    own.redis.replicaof("127.0.0.1", 1)
    try:
        until(lambda: "Redis is away" in worker.text(), what="the worker noticed")
        passed(own.settings.lease)
        assert worker.text().count("Redis is back") == 0
    finally:
        own.redis.replicaof("no", "one")

    for run in runs:
        assert own.result(run) == 1
        assert (own.field(run, "attempt"), own.attempts(run)) == ("1", [])
        assert own.redis.xlen(own.keys.rq_results(run)) == 1
    assert "dropped" not in worker.text()


def test_outcomes_wait_while_the_worker_may_not_write(own: Fleet) -> None:
    own.redis.execute_command("ACL", "SETUSER", "worker", "on", "nopass", "~*", "&*", "+@all")
    worker = own.start(2, TASKQ_REDIS_URL=own.settings.redis_url.replace("unix://", "unix://worker:any@"))
    runs = own.enqueue("nap", 2, seconds=1.0)
    own.running(2)

    own.redis.execute_command("ACL", "SETUSER", "worker", "-evalsha", "-eval")
    until(lambda: "outcomes: Redis refused" in worker.text(), what="outcomes are refused")
    own.redis.execute_command("ACL", "SETUSER", "worker", "+evalsha", "+eval")

    for run in runs:
        assert own.result(run) == 1
        assert own.redis.xlen(own.keys.rq_results(run)) == 1
    assert "dropped" not in worker.text()


def test_a_client_is_told_of_a_server_that_takes_no_writes(own: Fleet) -> None:
    own.redis.replicaof("127.0.0.1", 1)
    with Client(settings=own.settings) as client, pytest.raises(ServerUnreachable, match="takes no writes"):
        client.enqueue("nap")
    own.redis.replicaof("no", "one")
