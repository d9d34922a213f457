"""The registry: what each change does, what it refuses, and that it is one transaction."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from support.waiting import until

from taskq.registry.changes import commit as committing
from taskq.registry.changes.commit import Decision, Reads, View, Write, commit
from taskq.registry.changes.desk import Desk
from taskq.registry.changes.registry import Registry
from taskq.registry.code.artifact import digest_of
from taskq.registry.errors import Conflict, InspectionFailed, InvalidInput, NotFound, ServerUnreachable, TaskRetired, Unsupported
from taskq.registry.keys import Keys
from taskq.registry.model.record import TaskRecord
from taskq.registry.serializer import dump_params
from taskq.registry.settings import Settings


def code(result: object, name: str = "job") -> bytes:
    return f"from taskq import task\n@task\ndef {name}():\n    return {result!r}\n".encode()


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    with Registry(settings=settings, who="tester") as made:
        yield made


@pytest.fixture
def desk(redis: Redis, keys: Keys, settings: Settings) -> Desk:
    return Desk(redis, keys, settings, "tester")


def test_a_registration_writes_record_version_artifact_log_and_announcement_together(registry: Registry, redis: Redis, keys: Keys) -> None:
    with redis.pubsub() as listener:
        listener.subscribe(keys.changes)
        (document,) = registry.register_source("job.py", code(1), message="first", origin="shop")
        events = until(lambda: [m for m in [listener.get_message(timeout=0.1)] if m and m["type"] == "message"], what="announced")
    digest = digest_of(code(1))
    assert document == {"task": "job", "version": 1, "digest": digest, "revision": 1, "state": "active"}
    assert redis.get(keys.revision) == b"1"
    assert redis.ttl(keys.code(digest)) == -1
    event = json.loads(events[0]["data"])
    assert (event["type"], event["id"], event["source"], event["subject"]) == ("taskq.registry.registered", "1", "taskq/taskq", "job")
    (entry,) = registry.audit()
    assert (entry["who"], entry["why"], entry["revision"], entry["action"]) == ("tester", "first", 1, "registered")
    (version,) = registry.history("job")
    assert (version["author"], version["message"], version["state"], version["artifact"]) == ("tester", "first", "active", "source")
    shown = registry.show("job")
    assert (shown["origin"], shown["file"], shown["stable"], shown["latest"]) == ("shop", "job.py", 1, 1)
    assert registry.source("job") == code(1).decode()


def test_equal_content_is_unchanged_and_older_content_is_that_version_again(registry: Registry) -> None:
    registry.register_source("job.py", code(1))
    assert registry.register_source("job.py", code(1))[0] == {
        "task": "job", "version": 1, "digest": digest_of(code(1)), "revision": 1, "state": "unchanged",
    }  # fmt: skip
    assert registry.register_source("job.py", code(2))[0]["version"] == 2
    assert registry.register_source("job.py", code(1))[0]["version"] == 1
    assert registry.register_source("job.py", code(3))[0]["version"] == 3
    assert registry.revision == 4


def test_a_change_of_the_spec_alone_is_a_new_version_of_the_same_digest_kind(registry: Registry) -> None:
    registry.register_source("job.py", code(1))
    registry.register_source("job.py", code(1).replace(b"@task\n", b"@task(timeout='1m')\n"))
    text = registry.diff("job", 1, 2)
    assert "+@task(timeout='1m')" in text
    assert '+  "timeout": 60.0' in text
    assert registry.diff("job", 1, 1) == ""


def test_all_tasks_of_some_files_are_one_release(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(code(1, "a") + code(2, "b"))
    (tmp_path / "c.py").write_bytes(code(3, "c"))
    (tmp_path / "helper.py").write_text("print('not a task file')")
    documents = registry.register(tmp_path)
    assert [(row["task"], row["revision"]) for row in documents] == [("a", 1), ("b", 1), ("c", 1)]
    assert registry.audit()[0]["type"] == "release"
    assert {row["origin"] for row in registry.list()} == {tmp_path.name}
    # One bad file, and none of it happens.
    (tmp_path / "a.py").write_bytes(code(9, "a"))
    (tmp_path / "d.py").write_bytes(code(4, "d") + b"1/0\n")
    with pytest.raises(InspectionFailed, match=r"(?s)d\.py.*ZeroDivisionError"):
        registry.register([tmp_path])
    assert registry.revision == 1
    assert registry.show("a")["latest"] == 1


def test_the_project_names_the_origin(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'shop'\n")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "job.py").write_bytes(code(1))
    registry.register(tmp_path / "tasks" / "job.py")
    shown = registry.show("job")
    assert (shown["origin"], shown["file"]) == ("shop", "tasks/job.py")
    with pytest.raises(Conflict, match="belongs to origin shop"):
        registry.register(tmp_path / "tasks" / "job.py", origin="other")
    assert registry.register(tmp_path / "tasks" / "job.py", origin="other", take_over=True)[0]["state"] == "active"
    assert registry.show("job")["origin"] == "other"


def test_demands_are_held(registry: Registry) -> None:
    registry.register_source("job.py", code(1), if_version=0, if_revision=0)
    for demand in ({"if_version": 0}, {"if_version": 2}, {"if_revision": 0}, {"if_revision": 2}):
        with pytest.raises(Conflict):
            registry.register_source("job.py", code(2), **demand)  # type: ignore[arg-type]  # one of the options each
    assert registry.revision == 1
    registry.register_source("job.py", code(2), if_version=1, if_revision=1)
    with pytest.raises(Conflict):
        registry.pause("job", if_revision=1)
    registry.pause("job", if_revision=2)


def test_a_dry_run_says_what_would_be_and_writes_nothing(registry: Registry, redis: Redis) -> None:
    (document,) = registry.register_source("job.py", code(1), dry_run=True)
    assert (document["version"], document["state"], document["revision"]) == (1, "active", 0)
    assert redis.keys() == []
    registry.register_source("job.py", code(1))
    assert registry.register_source("job.py", code(1), dry_run=True)[0]["state"] == "unchanged"
    with pytest.raises(Conflict):
        registry.register_source("job.py", code(2), if_version=9, dry_run=True)


def test_rolling_back_goes_to_the_stable_version_before_and_withdraws_the_one_it_leaves(registry: Registry) -> None:
    for number in (1, 2, 3):
        registry.register_source("job.py", code(number))
    registry.promote("job", 1)
    registry.register_source("job.py", code(4))
    assert registry.rollback("job", message="four is bad")[0]["version"] == 1
    assert [row["state"] for row in registry.history("job")] == ["withdrawn", "inactive", "inactive", "active"]
    with pytest.raises(Conflict, match="rolled back from"):
        registry.register_source("job.py", code(4))
    assert registry.register_source("job.py", code(4), force=True)[0]["version"] == 4
    assert registry.show("job")["withdrawn"] == []
    assert registry.rollback("job", 3)[0]["version"] == 3
    with pytest.raises(Conflict, match="already"):
        registry.rollback("job", 3)
    assert registry.audit("job", 1)[0]["type"] == "rolled_back"


def test_there_must_be_something_to_roll_back_to(registry: Registry) -> None:
    registry.register_source("job.py", code(1))
    with pytest.raises(NotFound, match="no earlier version"):
        registry.rollback("job")
    registry.register_source("job.py", code(2))
    registry.rollback("job")
    with pytest.raises(NotFound, match="no earlier version"):
        registry.rollback("job")
    with pytest.raises(NotFound, match="no version 9, its latest is 2"):
        registry.rollback("job", 9)


def test_pausing_resuming_and_retiring(registry: Registry) -> None:
    registry.register_source("job.py", code(1))
    assert registry.pause("job", "stop it")[0]["state"] == "paused"
    assert registry.pause("job")[0] == {**registry.pause("job")[0], "state": "unchanged", "revision": 2}
    assert registry.register_source("job.py", code(2))[0]["state"] == "paused"
    assert registry.show("job")["stable"] == 2
    assert registry.resume("job")[0]["state"] == "active"
    assert registry.retire("job")[0]["state"] == "retired"
    for refused in (registry.pause, registry.resume):
        with pytest.raises(TaskRetired):
            refused("job")
    with pytest.raises(TaskRetired):
        registry.promote("job", 1)
    # The name is free again, and the numbers go on.
    assert registry.register_source("job.py", code(3))[0]["version"] == 3
    assert registry.show("job")["state"] == "active"
    registry.retire("job")
    assert registry.register_source("job.py", code(3))[0]["state"] == "active"


def enqueue(redis: Redis, keys: Keys, run: str, **fields: str) -> None:
    job: dict[Any, Any] = {"taskq": "1", "task": "job", "data": dump_params({}), "status": "queued", "origin": keys.queue_name("default")}
    redis.hset(keys.rq_job(run), mapping=job | fields)
    redis.zadd(keys.runs_of("job"), {run: 1.0})


def test_retiring_cancels_the_runs_that_wait(registry: Registry, redis: Redis, keys: Keys) -> None:
    registry.register_source("job.py", code(1))
    for number in range(700):
        enqueue(redis, keys, f"r{number}", status="queued" if number % 2 else "finished")
        if number % 2:
            redis.rpush(keys.rq_queue("default"), f"r{number}")
    registry.retire("job")
    assert redis.llen(keys.rq_queue("default")) == 0
    assert {redis.hget(keys.rq_job(f"r{number}"), "status") for number in range(1, 700, 2)} == {b"canceled"}
    assert redis.hget(keys.rq_job("r0"), "status") == b"finished"


def test_resuming_moves_parked_runs_back_in_their_order(registry: Registry, redis: Redis, keys: Keys) -> None:
    registry.register_source("job.py", code(1))
    registry.pause("job")
    names = [f"r{number}" for number in range(1200)]
    for name in names:
        enqueue(redis, keys, name)
    redis.rpush(keys.parked("job"), *names)
    redis.sadd(keys.parked_tasks, "job")
    redis.rpush(keys.rq_queue("default"), "later")
    registry.resume("job")
    assert [name.decode() for name in redis.lrange(keys.rq_queue("default"), 0, -1)] == [*names, "later"]
    assert not redis.exists(keys.parked("job"), keys.parked_tasks)


@pytest.mark.parametrize("bad", ["", "x" * 256, "a\0b", "a\nb", "../..", "a:b", "{x}", "ａ", "a*"])
def test_a_name_that_is_none_never_reaches_a_key(registry: Registry, redis: Redis, bad: str) -> None:
    for call in (registry.show, registry.history, registry.pause, registry.retire, registry.rollout, registry.rollback, registry.source):
        with pytest.raises(InvalidInput, match="not a valid name"):
            call(bad)
    assert redis.keys() == []


def test_what_is_not_there_is_not_found(registry: Registry) -> None:
    readers = (registry.show, registry.history, registry.rollout, registry.source, registry.audit)
    for call in (*readers, registry.pause, registry.retire, registry.rollback):
        with pytest.raises(NotFound, match="no task nope"):
            call("nope")
    assert registry.list() == registry.audit() == registry.workers() == []


def test_paths_that_hold_nothing_are_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path / "none.py", tmp_path):
        with pytest.raises(InvalidInput):
            registry.register(path)
    for other in (tmp_path / "notes.txt", "mod:obj"):
        with pytest.raises(Unsupported):
            registry.register(other)


def test_a_file_that_imports_its_neighbour_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "helper.py").touch()
    (tmp_path / "job.py").write_bytes(b"import helper\n" + code(1))
    with pytest.raises(InvalidInput, match="imports local modules helper: a source artifact is one file"):
        registry.register(tmp_path / "job.py")


def test_two_files_can_not_declare_one_task(registry: Registry, tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_bytes(code(1))
    with pytest.raises(InvalidInput, match=r"job is declared twice: in a\.py and in b\.py"):
        registry.register(tmp_path)


def test_a_failed_inspection_is_shown_by_the_rollout_of_the_tasks_of_that_file(registry: Registry) -> None:
    registry.register_source("job.py", code(1))
    registry.register_source("other.py", code(1, "other"))
    with pytest.raises(InspectionFailed):
        registry.register_source("job.py", code(2) + b"1/0\n")
    failure = registry.rollout("job")["failure"]
    assert "ZeroDivisionError" in failure["errors"][0]["error"]
    assert registry.rollout("other")["failure"] is None


def test_an_artifact_whose_registration_was_killed_goes_by_itself_and_the_same_command_succeeds(
    registry: Registry, settings: Settings, redis: Redis, keys: Keys
) -> None:
    registry.register_source("job.py", code(1))
    script = (
        "import os, sys\nfrom taskq.registry.changes import register\nfrom taskq.registry.changes.registry import Registry\n"
        "from taskq.registry.settings import Settings\n"
        "register.roll_out = lambda *_: os.kill(os.getpid(), 9)\n"
        "Registry(settings=Settings.load()).register_source('job.py', sys.stdin.buffer.read())\n"
    )
    environ = {"TASKQ_REDIS_URL": str(settings.redis_url), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", script], input=code(2), env=environ, check=False)
    assert done.returncode == -9
    assert 0 < redis.ttl(keys.code(digest_of(code(2)))) <= 3600
    assert (registry.show("job")["stable"], registry.revision) == (1, 1)
    assert registry.register_source("job.py", code(2))[0]["version"] == 2
    assert redis.ttl(keys.code(digest_of(code(2)))) == -1


# -- the transaction ---------------------------------------------------------------------------------------
def touch(task: str) -> Any:
    def decide(view: View) -> Decision:
        before = view.records.get(task)
        after = TaskRecord(task=task, latest=(before.latest if before else 0) + 1)
        return Decision("set", [Write(before, after)])

    return decide


def test_a_writer_that_loses_a_race_decides_again_on_what_the_winner_left(desk: Desk, settings: Settings) -> None:
    seen: list[int] = []

    def decide(view: View) -> Decision:
        seen.append(view.revision)
        if len(seen) <= 3:
            commit(desk, Reads(["other"]), touch("other"))
        return touch("job")(view)

    done = commit(desk, Reads(["job"]), decide)
    assert seen == [0, 1, 2, 3]
    assert done.revision == 4


def test_a_commit_whose_answer_was_lost_is_not_made_twice(desk: Desk, monkeypatch: pytest.MonkeyPatch, redis: Redis, keys: Keys) -> None:
    attempt = committing._attempt
    calls: list[int] = []

    def forgetful(*args: Any) -> Any:
        calls.append(1)
        done = attempt(*args)
        if len(calls) == 1:
            raise committing.WatchError("the connection was lost while watching")
        return done

    monkeypatch.setattr(committing, "_attempt", forgetful)
    done = commit(desk, Reads(["job"]), touch("job"))
    assert done.revision == 1
    assert redis.get(keys.revision) == b"1"
    assert done.writes[0].after.latest == 1


def test_endless_contention_ends_in_a_conflict(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "_WITHIN", 0.1)

    def decide(view: View) -> Decision:
        desk.redis.incr(desk.keys.revision)
        return touch("job")(view)

    with pytest.raises(Conflict, match="contention"):
        commit(desk, Reads(["job"]), decide)


def test_a_lost_connection_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RedisConnectionError("gone")

    monkeypatch.setattr(committing, "_attempt", broken)
    with pytest.raises(Exception, match="can't be reached") as caught:
        commit(desk, Reads(["job"]), touch("job"))
    assert getattr(caught.value, "exit_code", 0) == 5


def test_a_revision_key_that_was_lost_is_made_good_by_the_change_log(registry: Registry, redis: Redis, keys: Keys) -> None:
    registry.register_source("job.py", code(1))
    registry.register_source("job.py", code(2))
    redis.delete(keys.revision)
    assert registry.register_source("job.py", code(3))[0]["revision"] == 3


def test_nothing_is_committed_on_an_artifact_that_is_gone(desk: Desk) -> None:
    with pytest.raises(Exception, match="expired"):
        commit(desk, Reads(["job"], digests=["0" * 64]), touch("job"))
    assert desk.redis.get(desk.keys.revision) is None


def test_a_source_is_shown_in_its_own_encoding(registry: Registry) -> None:
    text = f"# coding: latin-1\n{code('é').decode()}"
    registry.register_source("job.py", text.encode("latin-1"))
    assert registry.source("job") == text


def test_broken_code_with_redis_away_is_an_error_of_ours(own_server: Any) -> None:
    with Registry(settings=Settings(redis_url=own_server.url), who="tester") as registry:
        own_server.kill()
        with pytest.raises(ServerUnreachable):
            registry.register_source("job.py", b"def broken(:\n")
