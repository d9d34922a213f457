"""A route is switched only when each live worker that serves it has the version; otherwise nothing is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from support.pretended import NEVER, PretendedWorker

from taskq.registry import clock
from taskq.registry.changes.registry import Registry
from taskq.registry.changes.transitions import staged
from taskq.registry.errors import Conflict, RolloutFailed
from taskq.registry.keys import Keys
from taskq.registry.model.record import TaskRecord
from taskq.registry.settings import Settings

Worker = Callable[..., PretendedWorker]


def code(result: object, name: str = "job", queue: str = "default") -> bytes:
    return f"from taskq import task\n@task(queue={queue!r})\ndef {name}():\n    return {result!r}\n".encode()


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    with Registry(settings=settings, who="tester") as made:
        yield made


@pytest.fixture
def worker(settings: Settings, keys: Keys) -> Worker:
    def make(name: str = "w0", **how: object) -> PretendedWorker:
        return PretendedWorker(settings, keys, name, **how)  # type: ignore[arg-type]  # passed on as given

    return make


def test_a_version_is_staged_loaded_and_switched(registry: Registry, worker: Worker) -> None:
    with worker() as one:
        (first,) = registry.register_source("job.py", code(1))
        (second,) = registry.register_source("job.py", code(2))
        assert (first["state"], first["revision"], second["version"], second["revision"]) == ("active", 2, 2, 4)
        assert [entry["type"] for entry in registry.audit()] == ["registered", "staged", "registered", "staged"]
        assert ("job", 1, 2) in one.log
        rollout = registry.rollout("job")
        assert rollout["seconds"] > 0
        assert rollout["failure"] is None


def test_a_worker_of_another_queue_is_not_waited_for(registry: Registry, worker: Worker) -> None:
    with worker(queues=("other",), loads=lambda *_: "would fail"):
        assert registry.register_source("job.py", code(1))[0]["revision"] == 1


def test_a_version_that_a_worker_can_not_load_is_not_switched_to(registry: Registry, worker: Worker) -> None:
    with worker("good"), worker("bad", loads=lambda _, version: "ImportError: no lib" if version == 2 else None):
        registry.register_source("job.py", code(1))
        with pytest.raises(RolloutFailed, match="bad") as caught:
            registry.register_source("job.py", code(2))
        assert caught.value.failures == [{"worker": "bad", "error": "ImportError: no lib"}]
        assert caught.value.documents[0]["state"] == "failed"
        assert "ImportError" in str(caught.value)
        shown = registry.show("job")
        assert (shown["stable"], shown["staged"], shown["latest"]) == (1, None, 2)
        assert registry.rollout("job")["failure"]["errors"] == caught.value.failures
        assert [entry["type"] for entry in registry.audit("job", 2)] == ["unstaged", "staged"]
        # The next content gets the next number.
        assert registry.register_source("job.py", code(3))[0]["version"] == 3


def test_a_worker_that_is_late_is_named_unless_it_may_be(registry: Registry, worker: Worker) -> None:
    with worker("slow", loads=lambda *_: NEVER):
        with pytest.raises(RolloutFailed) as caught:
            registry.register_source("job.py", code(1), stage_timeout=0.3)
        assert "not ready within 0.3 s" in caught.value.failures[0]["error"]
        assert registry.show("job")["stable"] is None
        assert registry.register_source("job.py", code(1), max_unready=1)[0]["state"] == "active"


def test_a_worker_that_dies_meanwhile_is_not_waited_for(registry: Registry, worker: Worker, redis: Redis, keys: Keys) -> None:
    slow = worker("slow", loads=lambda *_: NEVER)
    with ThreadPoolExecutor(1) as pool:
        with slow:
            future = pool.submit(registry.register_source, "job.py", code(1))
            while ("job", None, 1) not in slow.log:
                assert not future.done()
        assert future.result(timeout=15)[0]["state"] == "active"


def test_what_is_not_activated_waits_on_the_stage_for_its_promotion(registry: Registry, worker: Worker) -> None:
    with worker():
        registry.register_source("job.py", code(1))
        (document,) = registry.register_source("job.py", code(2), activate=False)
        assert document["state"] == "staged"
        assert registry.show("job")["stable"] == 1
        assert [row["state"] for row in registry.history("job")] == ["staged", "active"]
        assert registry.register_source("job.py", code(2), activate=False)[0]["state"] == "unchanged"
        (promoted,) = registry.promote("job", 2)
        assert (promoted["version"], promoted["state"]) == (2, "active")
        assert registry.show("job")["staged"] is None


def test_without_a_worker_what_is_not_activated_is_staged_at_once(registry: Registry) -> None:
    assert registry.register_source("job.py", code(1), activate=False)[0]["state"] == "staged"
    shown = registry.show("job")
    assert (shown["stable"], shown["staged"]) == (None, 1)


def test_rollouts_of_one_task_take_effect_one_after_the_other(settings: Settings, worker: Worker) -> None:
    def register(number: int) -> int:
        with Registry(settings=settings) as registry:
            return int(registry.register_source("job.py", code(number))[0]["version"])

    with worker() as one, ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(register, range(8)))
        assert sorted(versions) == list(range(1, 9))
        stables = [stable for _, stable, _ in one.log if stable]
        assert stables == sorted(stables)
    with Registry(settings=settings) as registry:
        assert registry.show("job")["stable"] == 8
        assert registry.revision == 16


def test_a_rollout_whose_registrar_was_killed_is_taken_over(registry: Registry, redis: Redis, keys: Keys) -> None:
    registry.register_source("job.py", code(1))
    record = TaskRecord.load(redis.hget(keys.registry, "job") or b"")
    seconds, _ = redis.time()
    redis.hset(keys.registry, "job", staged(record, 9, until=seconds + 3600, by="killed").dump())
    redis.set(keys.registrar("killed"), 1, px=700)
    assert registry.register_source("job.py", code(2))[0]["state"] == "active"
    assert not redis.exists(keys.registrar("killed"))
    assert registry.show("job")["staged"] is None


def test_an_interrupted_rollout_is_taken_back(registry: Registry, worker: Worker) -> None:
    def interrupt(text: str) -> None:
        if text.startswith("waiting"):
            raise KeyboardInterrupt

    with worker(loads=lambda *_: NEVER):
        with pytest.raises(KeyboardInterrupt):
            registry.register_source("job.py", code(1), on_progress=interrupt)
        assert registry.show("job")["staged"] is None


def test_a_retired_task_is_not_switched_by_a_rollout_that_was_under_way(registry: Registry, settings: Settings, worker: Worker) -> None:
    go = threading.Event()
    with worker(loads=lambda _, version: None if version == 1 or go.is_set() else NEVER) as slow, ThreadPoolExecutor(1) as pool:
        registry.register_source("job.py", code(1))
        future = pool.submit(registry.register_source, "job.py", code(2), stage_timeout=1.0)
        while ("job", 1, 2) not in slow.log:
            assert not future.done()
        with Registry(settings=settings) as other:
            other.retire("job")
        go.set()
        with pytest.raises((Conflict, RolloutFailed)):
            future.result(timeout=15)
        assert (registry.show("job")["state"], registry.show("job")["stable"]) == ("retired", 1)


def test_a_rollback_is_loaded_first_as_well(registry: Registry, worker: Worker) -> None:
    broken: set[int] = set()
    with worker(loads=lambda _, version: "gone" if version in broken else None):
        for number in (1, 2, 3):
            registry.register_source("job.py", code(number))
        broken.add(2)
        with pytest.raises(RolloutFailed):
            registry.rollback("job")
        assert registry.show("job")["stable"] == 3
        assert registry.show("job")["withdrawn"] == []
        (document,) = registry.rollback("job", 1, "two is broken")
        assert (document["version"], document["state"]) == (1, "active")
        assert registry.show("job")["withdrawn"] == [3]


def test_workers_and_their_state_are_listed(registry: Registry, worker: Worker, redis: Redis, keys: Keys) -> None:
    redis.zadd(keys.workers, {"silent": 1.0})
    with worker("busy"):
        registry.register_source("job.py", code(1))
        rows = {row["worker"]: row for row in registry.workers()}
        assert rows["busy"]["loaded"] == [{"task": "job", "version": 1}]
        assert rows["busy"]["state"] == "idle"
        assert rows["silent"]["state"] == "gone"


def test_a_failed_take_over_leaves_the_task_where_it_was(registry: Registry, worker: Worker) -> None:
    with worker(loads=lambda _, version: "ImportError: no lib" if version == 2 else None):
        registry.register_source("a.py", code(1), origin="one")
        with pytest.raises(RolloutFailed):
            registry.register_source("b.py", code(2), origin="two", take_over=True)
    shown = registry.show("job")
    assert (shown["origin"], shown["file"]) == ("one", "a.py")


def test_a_release_that_loses_one_task_leaves_none_on_the_stage(registry: Registry, worker: Worker) -> None:
    def both(result: int) -> bytes:
        return code(result, "one") + code(result, "two")

    def retire_one(task: str, version: int) -> None:
        if (task, version) == ("two", 2) and not retired:
            retired.extend(registry.retire("one"))

    retired: list[object] = []

    with worker(loads=retire_one):
        registry.register_source("jobs.py", both(1))
        with pytest.raises(Conflict, match="one: version 2 was taken off the stage"):
            registry.register_source("jobs.py", both(2))
        shown = registry.show("two")
        assert (shown["stable"], shown["staged"]) == (1, None)
        assert registry.register_source("jobs.py", both(2), stage_timeout=5)[1]["state"] == "active"


def test_a_registrar_that_slept_takes_nothing_off_a_later_stage(registry: Registry, worker: Worker, redis: Redis, keys: Keys) -> None:
    def stage_again(_: str, version: int) -> str | None:
        if version == 2:
            record = TaskRecord.load(redis.hget(keys.registry, "job") or b"")
            redis.hset(keys.registry, "job", staged(record, 2, clock.now() + 60).dump())
        return "ImportError: no lib" if version == 2 else None

    with worker(loads=stage_again):
        registry.register_source("job.py", code(1))
        with pytest.raises(RolloutFailed):
            registry.register_source("job.py", code(2))
    assert registry.show("job")["staged"] == 2
