"""Lists of runs, their filters, and what is left out; logs page by page."""

from __future__ import annotations

import pytest
from redis import Redis
from support import hands

from taskq.registry.effects import run_sync
from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.runs import logs
from taskq.registry.runs.creation import Batch, NewRun, encode, enqueue_call, form_of
from taskq.registry.runs.index import list_runs
from taskq.registry.runs.logs import read_logs

TOTAL = 1200


@pytest.fixture
def many(redis: Redis, keys: Keys) -> list[str]:
    """Runs of task ``count``, oldest first; more than a page of the index."""
    runs = [f"r{number:04}" for number in range(TOTAL)]
    for at in range(0, TOTAL, 400):
        new = [NewRun(run, encode("count", {}, 100)) for run in runs[at : at + 400]]
        call = enqueue_call(form_of(keys, Batch(task="count", queue="default", timeout=5)), new)
        call.script.call(redis, call.keys, call.args)
    return runs


def test_a_rare_status_is_found_behind_many_others(redis: Redis, keys: Keys, many: list[str]) -> None:
    hands.claim(redis, keys, 2)
    found = run_sync(list_runs(keys, status="running"), redis)
    assert [document["run"] for document in found] == [many[1], many[0]]
    assert len(run_sync(list_runs(keys, limit=700), redis)) == 700


def test_runs_whose_record_is_gone_leave_the_index(redis: Redis, keys: Keys, many: list[str]) -> None:
    for run in many[100:]:
        hands.age(redis, keys, run)
    found = run_sync(list_runs(keys, task="count", limit=50), redis)
    assert [document["run"] for document in found] == many[99:49:-1]
    assert redis.zcard(keys.runs_of("count")) == 100


def test_a_run_of_another_release_is_left_out(redis: Redis, keys: Keys, many: list[str]) -> None:
    redis.hset(keys.rq_job(many[-1]), "taskq", "2")
    assert run_sync(list_runs(keys, limit=1), redis)[0]["run"] == many[-2]


@pytest.mark.parametrize("wrong", [{"status": "finished"}, {"task": "a*"}, {"limit": 0}])
def test_a_filter_that_is_none_is_refused(redis: Redis, keys: Keys, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        run_sync(list_runs(keys, **wrong), redis)  # type: ignore[arg-type]  # that is the test


def test_a_long_log_is_read_whole_and_on_from_a_line(redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PAGE", 10)
    for number in range(35):
        redis.xadd(keys.logs("r1"), {"at": str(number), "level": "stdout", "text": str(number)})
    lines = run_sync(read_logs(keys, "r1"), redis)
    assert [line["text"] for line in lines] == [str(number) for number in range(35)]
    assert [line["text"] for line in run_sync(read_logs(keys, "r1", after=lines[32]["id"]), redis)] == ["33", "34"]
    assert run_sync(read_logs(keys, "r1", after=lines[-1]["id"], block=0.01), redis) == []


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_log_is_read_over_either_protocol(redis: Redis, keys: Keys, protocol: int) -> None:
    redis.xadd(keys.logs("r1"), {"at": "1", "level": "stdout", "text": "x"})
    path = redis.connection_pool.connection_kwargs["path"]
    with Redis(unix_socket_path=path, protocol=protocol) as other:
        assert [line["text"] for line in run_sync(read_logs(keys, "r1", block=0.1), other)] == ["x"]
        assert run_sync(read_logs(keys, "r2", block=0.01), other) == []
