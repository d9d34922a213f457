"""The one transaction by which the registry changes."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.client import Pipeline
from redis.exceptions import RedisError, WatchError

from taskq.registry import clock
from taskq.registry.backoff import pause
from taskq.registry.changes.desk import Desk
from taskq.registry.effects import translate
from taskq.registry.errors import Conflict, TaskqError
from taskq.registry.model.change import Change, ChangeType, TaskChange, cloud_event
from taskq.registry.model.record import TaskRecord, VersionRecord
from taskq.registry.runtime.faults import point
from taskq.registry.schedules.schedule import member, schedules_of

_KEPT: Final = 10_000
_WITHIN: Final = 10.0


@dataclass(frozen=True)
class View:
    """The registry as a decision sees it: one moment, at ``revision``; ``at`` by Redis' clock.

    ``records`` holds the tasks asked for that are there, ``same`` the version of a task that has the content asked for.
    """

    revision: int
    at: float
    records: Mapping[str, TaskRecord]
    same: Mapping[str, int]


@dataclass(frozen=True)
class Write:
    """One task of a change. ``after`` gets the change's revision and time; ``new`` is a version to add."""

    before: TaskRecord | None
    after: TaskRecord
    version: int | None = None
    digest: str | None = None
    new: VersionRecord | None = None


@dataclass(frozen=True)
class Decision:
    """What is to be written; nothing if there are no writes."""

    action: ChangeType
    writes: Sequence[Write] = ()


@dataclass(frozen=True)
class Reads:
    """What a decision needs: tasks, for some of them the content to look for, and artifacts that must be there."""

    tasks: Sequence[str]
    contents: Mapping[str, str] = field(default_factory=dict)
    digests: Sequence[str] = ()


@dataclass(frozen=True)
class Committed:
    """What was written, and the registry's revision after it."""

    revision: int
    at: float
    writes: Sequence[Write]


def commit(desk: Desk, reads: Reads, decide: Callable[[View], Decision], why: str = "") -> Committed:
    """Make one change: all of its tasks, the revision, the change log and the announcement, or nothing.

    Args:
        desk: where and in whose name.
        reads: what ``decide`` needs to see.
        decide: from what is there to what shall be written. Called again after each lost race, so it must be pure.
        why: the writer's message.

    Raises:
        Conflict: ``decide`` says so, or other writers won each race for 10 s.
        ServerUnreachable: Redis does not answer; the change may or may not have been made.
    """
    deadline = clock.monotonic() + _WITHIN
    attempt = 0
    token = secrets.token_hex(8)
    while True:
        try:
            with desk.redis.pipeline(transaction=True) as pipe:
                return _attempt(desk, pipe, reads, decide, (why, token))
        except WatchError:
            # It may be ours: an answer that was lost on the way looks the same.
            done = _already_made(desk, token)
            if done is not None:
                return done
        except RedisError as error:
            raise translate(error) from error
        if clock.monotonic() > deadline:
            raise Conflict(f"contention: other writers won each race for {_WITHIN:g} s")
        time.sleep(pause(attempt, base=0.005, cap=0.2))
        attempt += 1


def _attempt(desk: Desk, pipe: Pipeline, reads: Reads, decide: Callable[[View], Decision], note: tuple[str, str]) -> Committed:
    keys = desk.keys
    watched = [keys.registry, keys.revision, keys.changelog, *map(keys.code, reads.digests)]
    pipe.watch(*watched)  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
    view = _read(desk, reads)
    decision = decide(view)
    if not decision.writes:
        return Committed(view.revision, view.at, ())
    revision = view.revision + 1
    writes = [_stamped(write, revision, view.at) for write in decision.writes]
    pipe.multi()
    for write in writes:
        _put(desk, pipe, write)
    _announce(desk, pipe, _change(desk, decision.action, writes, view, note[0]), note[1])
    pipe.execute()
    point("registry.committed")
    return Committed(revision, view.at, writes)


def _read(desk: Desk, reads: Reads) -> View:
    keys, tasks = desk.keys, list(reads.tasks)
    # On a connection of its own: all of it in one round trip, while the other one watches.
    with desk.redis.pipeline(transaction=False) as pipe:
        pipe.get(keys.revision)
        pipe.xrevrange(keys.changelog, count=1)
        pipe.time()
        pipe.hmget(keys.registry, tasks)
        for task, content in reads.contents.items():
            pipe.hget(keys.contents(task), content)
        for digest in reads.digests:
            pipe.exists(keys.code(digest))
        stored, last, (seconds, micros), blobs, *rest = pipe.execute()
    same, there = rest[: len(reads.contents)], rest[len(reads.contents) :]
    for digest, present in zip(reads.digests, there, strict=True):
        if not present:
            raise TaskqError(f"artifact {digest} has expired before a version could name it", hint="register again")
    return View(
        # The change log never takes an id twice: should the two differ, the higher one counts.
        revision=max(int(stored or 0), int(last[0][0].split(b"-")[0]) if last else 0),
        at=seconds + micros / 1e6,
        records={task: TaskRecord.load(blob) for task, blob in zip(tasks, blobs, strict=True) if blob is not None},
        same={task: int(version) for task, version in zip(reads.contents, same, strict=True) if version is not None},
    )


def _stamped(write: Write, revision: int, at: float) -> Write:
    after = write.after.model_copy(update={"revision": revision, "changed_at": at})
    return Write(write.before, after, write.version, write.digest, write.new)


def _put(desk: Desk, pipe: Pipeline, write: Write) -> None:
    keys, task = desk.keys, write.after.task
    pipe.hset(keys.registry, task, write.after.dump())
    if write.new is not None:
        pipe.hset(keys.versions(task), str(write.new.version), write.new.dump())
        pipe.hset(keys.contents(task), write.new.content, str(write.new.version))
        pipe.persist(keys.code(write.new.digest))
    gone = _schedules(write.before) - _schedules(write.after)
    if gone:
        # In the same step: one that comes back before a scheduler has looked begins anew, as one that was never there.
        pipe.zrem(keys.scheduler_due, *gone)
        pipe.hdel(keys.scheduler_state, *gone)


def _schedules(record: TaskRecord | None) -> set[str]:
    """Names of the schedules that a record asks for."""
    if record is None or record.state == "retired" or record.route.stable is None:
        return set()
    return {member(record.task, schedule) for schedule in schedules_of(record.spec)}


def _change(desk: Desk, action: ChangeType, writes: Sequence[Write], view: View, why: str) -> Change:
    return Change(
        revision=view.revision + 1,
        type=action if len(writes) == 1 else "release",
        action=action,
        at=view.at,
        who=desk.who,
        why=why,
        tasks=tuple(
            TaskChange(
                task=write.after.task,
                version=write.version,
                digest=write.digest,
                before=_plain(write.before) if write.before else None,
                after=_plain(write.after),
            )
            for write in writes
        ),
    )


def _plain(record: TaskRecord) -> dict[str, Any]:
    return record.model_dump(exclude_defaults=True)


def _announce(desk: Desk, pipe: Pipeline, change: Change, token: str) -> None:
    keys = desk.keys
    names = "\n".join(item.task for item in change.tasks)
    pipe.set(keys.revision, change.revision)
    fields: dict[Any, Any] = {"tasks": names, "change": change.dump(), "token": token}
    pipe.xadd(keys.changelog, fields, id=f"{change.revision}-0", maxlen=_KEPT, approximate=True)
    pipe.publish(keys.changes, json.dumps(cloud_event(change, keys.namespace), ensure_ascii=False, separators=(",", ":")))


def _already_made(desk: Desk, token: str) -> Committed | None:
    try:
        entries: Any = desk.redis.xrevrange(desk.keys.changelog, count=100)
    except RedisError as error:
        raise translate(error) from error
    for _, fields in entries:
        if fields.get(b"token") == token.encode():
            change = Change.load(fields[b"change"])
            return Committed(change.revision, change.at, [_written(item) for item in change.tasks])
    return None


def _written(item: TaskChange) -> Write:
    before = TaskRecord.parse(item.before) if item.before is not None else None
    return Write(before, TaskRecord.parse(item.after), item.version, item.digest)
