"""Versions: loaded ahead, swapped under load, refused where they are broken, dropped when nobody needs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis as redis_py
from support.fleet import Fleet
from support.waiting import until

from taskq.registry import codec
from taskq.registry.code.artifact import digest_of
from taskq.registry.settings import Settings

HEAD = "import os, sys, time\nfrom taskq.registry import task\n"
SECONDS = {"parameters": {"json_schema": {"type": "object"}}}


def version_of(number: int, extra: str = "") -> str:
    return HEAD + f"{extra}\n@task\ndef which(seconds=0):\n    time.sleep(seconds)\n    return {number}\n"


def loads(fleet: Fleet) -> list[bytes]:
    return [key for key in fleet.redis.hkeys(fleet.keys.worker("w0")) if key.startswith(b"load:")]


@pytest.fixture(params=[True, False], ids=["pubsub", "no pubsub"])
def either_fleet(request: pytest.FixtureRequest, settings: Settings, redis: redis_py.Redis, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(settings.model_copy(update={"pubsub": request.param}), redis, tmp_path)
    try:
        yield made
    finally:
        made.stop()


def test_no_run_enqueued_after_a_change_starts_on_an_older_version(either_fleet: Fleet) -> None:
    fleet = either_fleet
    fleet.put("which", version_of(1), **SECONDS)
    workers = [fleet.start(2), fleet.start(2)]
    executors = {child.pid for worker in workers for child in worker.executors()}
    expected: dict[str, int] = {}
    for number in range(2, 12):
        expected.update(dict.fromkeys(fleet.enqueue("which", 10, seconds=0), number - 1))
        fleet.put("which", version_of(number), **SECONDS)
        expected.update(dict.fromkeys(fleet.enqueue("which", 10, seconds=0), number))

    for run, at_least in expected.items():
        got = fleet.result(run)
        assert got >= at_least
        assert fleet.field(run, "version") == str(got)
    assert executors <= {child.pid for worker in workers for child in worker.executors()}


def test_runs_in_flight_finish_on_the_code_they_started_with(fleet: Fleet) -> None:
    fleet.put("which", version_of(1), **SECONDS)
    fleet.start(2)
    (old,) = fleet.enqueue("which", seconds=1.5)
    fleet.running()
    fleet.put("which", version_of(2), **SECONDS)
    (new,) = fleet.enqueue("which", seconds=0)

    assert fleet.result(new) == 2
    assert fleet.result(old) == 1


def test_a_staged_version_is_loaded_ahead_and_reported_and_not_run(fleet: Fleet) -> None:
    fleet.put("which", version_of(1), **SECONDS)
    fleet.start(2)
    fleet.put("which", version_of(2), stable=False, **SECONDS)

    report = until(lambda: fleet.load_report("w0", "which", 2), what="it is reported")
    assert (report.state, report.error) == ("ready", None)
    revision = int(fleet.redis.get(fleet.keys.revision) or 0)
    until(lambda: fleet.report("w0").revision == revision, what="the revision is applied")
    assert fleet.result(fleet.enqueue("which", seconds=0)[0]) == 1


def test_a_version_is_loaded_while_all_executors_are_busy(fleet: Fleet) -> None:
    fleet.put("which", version_of(1), **SECONDS)
    worker = fleet.start(1)
    (busy,) = fleet.enqueue("which", seconds=4)
    fleet.running()
    fleet.put("which", version_of(2), stable=False, **SECONDS)

    until(lambda: fleet.load_report("w0", "which", 2), 3, "it is reported")
    assert fleet.field(busy, "status") == "started"
    assert len(worker.executors()) == 2, "the standby"
    assert fleet.result(busy) == 1
    until(lambda: len(worker.executors()) == 1, 4, "the standby is gone once an executor is idle")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("def oops(:", "SyntaxError"),
        ("raise RuntimeError('not here')", "not here"),
        ("os._exit(7)", "exit code 7"),
        ("sys.exit(3)", "SystemExit"),
        ("time.sleep(60)", "timed out after 2 s"),
    ],
)
def test_a_version_that_can_not_be_imported_is_reported_and_harms_nobody(fleet: Fleet, broken: str, said: str) -> None:
    fleet.put("which", version_of(1), **SECONDS)
    worker = fleet.start(2, TASKQ_LOAD_TIMEOUT="2")
    executors = {child.pid for child in worker.executors()}
    fleet.put("which", version_of(2, broken), stable=False, **SECONDS)
    meanwhile = fleet.enqueue("which", 5, seconds=0)

    report = until(lambda: fleet.load_report("w0", "which", 2), 8, "it is reported")
    assert report.state == "failed"
    assert said in report.error
    assert [fleet.result(run) for run in meanwhile] == [1] * 5
    assert executors <= {child.pid for child in worker.executors()}
    revision = int(fleet.redis.get(fleet.keys.revision) or 0)
    until(lambda: fleet.report("w0").revision == revision, what="a failure counts as applied")


def test_a_flipped_byte_is_refused_with_both_digests_and_burns_no_attempt(fleet: Fleet) -> None:
    fleet.put("fine", HEAD + "@task\ndef fine():\n    return 1\n")
    fleet.put("which", version_of(1), **SECONDS)
    key = next(key for key in fleet.redis.keys(fleet.keys.code("*")) if b"which" in (fleet.redis.get(key) or b""))
    fleet.redis.setrange(key, 0, b"#")
    fleet.start(2)
    runs = fleet.enqueue("which", 3, seconds=0)

    report = until(lambda: fleet.load_report("w0", "which", 1), what="it is reported")
    assert report.state == "failed"
    assert key.decode().rsplit(":", 1)[1] in report.error
    assert [fleet.result(run) for run in fleet.enqueue("fine", 3)] == [1] * 3
    until(lambda: {fleet.field(run, "status") for run in runs} == {"queued"}, what="they are back")
    fleet.redis.setrange(key, 0, b"i")
    assert [fleet.result(run, 20) for run in runs] == [1] * 3
    assert {fleet.field(run, "attempt") for run in runs} == {"1"}


def test_a_pinned_run_gets_its_version(fleet: Fleet) -> None:
    fleet.put("which", version_of(1), **SECONDS)
    fleet.put("which", version_of(2), **SECONDS)
    fleet.start(2)

    (pinned,) = fleet.enqueue("which", pin="1", seconds=0)
    assert fleet.result(pinned) == 1
    assert fleet.result(fleet.enqueue("which", seconds=0)[0]) == 2


def test_a_task_of_another_queue_is_not_loaded(fleet: Fleet) -> None:
    fleet.start(1)
    fleet.put("which", version_of(1), queue="other", **SECONDS)
    revision = int(fleet.redis.get(fleet.keys.revision) or 0)

    until(lambda: fleet.report("w0").revision == revision, what="the revision is applied")
    assert fleet.load_report("w0", "which", 1) is None


def test_two_hundred_versions_leave_no_more_than_fifty_did(fleet: Fleet) -> None:
    worker = fleet.start(2)
    sizes: list[list[int]] = []
    for number in range(1, 201):
        fleet.put("which", version_of(number), **SECONDS)
        if number in (50, 200):
            assert fleet.result(fleet.enqueue("which", seconds=0)[0]) == number
            until(lambda: len(loads(fleet)) == 1, 20, "older versions are dropped")
            sizes.append([process.memory_info().rss for process in [psutil.Process(worker.process.pid), *worker.executors()]])
    assert sum(sizes[1]) <= sum(sizes[0]) * 1.1


def test_a_file_is_inspected_by_a_worker_that_is_asked(fleet: Fleet) -> None:
    fleet.start(1)
    source = version_of(1).encode()
    fleet.redis.rpush(fleet.keys.inspections, codec.dumps({"id": "one", "source": source, "file": "which.py"}))
    fleet.redis.publish(fleet.keys.control, b'{"type":"inspect"}')

    answer = fleet.redis.blpop([fleet.keys.inspection("one")], timeout=10)
    assert answer is not None
    found = codec.loads(answer[1])
    assert [item["name"] for item in found["tasks"]] == ["which"], found


def test_a_worker_outlives_a_server_that_comes_back_empty(fleet: Fleet) -> None:
    for number in (1, 2, 3):
        fleet.put("which", version_of(number), **SECONDS)
    worker = fleet.start(2)
    assert fleet.result(fleet.enqueue("which", seconds=0)[0]) == 3
    fleet.redis.flushall()
    fleet.put("which", version_of(7), **SECONDS)

    assert fleet.result(fleet.enqueue("which", seconds=0)[0]) == 7
    until(lambda: fleet.load_report("w0", "which", 1), what="it reports again what it has loaded")
    assert worker.process.poll() is None


@pytest.mark.parametrize("spoiled", ["versions", "code"])
def test_a_version_whose_key_is_of_a_wrong_type_has_failed_and_is_not_asked_for_without_end(fleet: Fleet, spoiled: str) -> None:
    fleet.put("which", version_of(1), **SECONDS)
    key = fleet.keys.versions("which") if spoiled == "versions" else fleet.keys.code(digest_of(version_of(1).encode()))
    fleet.redis.delete(key)
    fleet.redis.sadd(key, "spoiled")
    worker = fleet.start(1)
    (run,) = fleet.enqueue("which", seconds=0)

    report = until(lambda: fleet.load_report("w0", "which", 1), what="it is reported")
    assert (report.state, "WRONGTYPE" in (report.error or "")) == ("failed", True)
    fleet.redis.config_resetstat()
    beat = fleet.report("w0").heartbeat
    until(lambda: fleet.report("w0").heartbeat > beat, 5, "another heartbeat")
    assert fleet.redis.info("stats")["total_error_replies"] < 20
    assert (fleet.field(run, "status"), fleet.field(run, "attempt")) in [("queued", ""), ("queued", "0"), ("started", "1")]
    assert worker.process.poll() is None
