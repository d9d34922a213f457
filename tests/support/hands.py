"""A registry and a worker played by hand: records written straight, scripts called one by one."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

from redis import Redis

from taskq.registry import codec, scripts
from taskq.registry.keys import Keys
from taskq.registry.model.record import Route, TaskRecord, VersionRecord
from taskq.registry.model.spec import Parameters, Spec
from taskq.registry.serializer import load_params

WORKER = "hand"


def schema(**properties: Any) -> Parameters:
    """Parameters of a task that takes exactly these, all optional."""
    return Parameters(json_schema={"type": "object", "properties": properties, "additionalProperties": False})


def put_task(redis: Redis, keys: Keys, task: str, *, version: int = 1, state: str = "active", spec: Spec | None = None) -> TaskRecord:
    """Write a task as if its version had just been registered; raises the revision by one."""
    revision = int(redis.get(keys.revision) or 0) + 1
    made = spec or Spec()
    record = TaskRecord.model_validate(
        {"task": task, "state": state, "route": Route(stable=version), "latest": version, "revision": revision, "spec": made}
    )
    stored = VersionRecord(task=task, version=version, digest="0" * 64, attribute=task, spec=made)
    with redis.pipeline(transaction=True) as pipe:
        pipe.hset(keys.registry, task, record.dump())
        pipe.hset(keys.versions(task), str(version), stored.dump())
        pipe.set(keys.revision, revision)
        pipe.execute()
    return record


@dataclass(frozen=True)
class Claimed:
    """A claimed run as claim.lua returns it."""

    run: str
    token: str
    attempt: int
    task: str
    params: dict[str, Any]
    pin: str
    limit: str
    cause: str


def claim(redis: Redis, keys: Keys, count: int = 1, queue: str = "default", lease: int = 30_000) -> list[Claimed]:
    """Claim runs as the worker `WORKER`."""
    names = [keys.leases, keys.lease, keys.fence, keys.revision, keys.rq_queue(queue)]
    reply = scripts.load("claim").call(redis, names, [WORKER, lease, count, keys.rq])
    rows = [(*row, b"1", *[b""] * 5)[:11] if len(row) == 5 else row for row in reply[3:]]
    return [
        Claimed(run.decode(), token.decode(), int(attempt), task.decode(), load_params(data), pin.decode(), limit.decode(), cause.decode())
        for _, run, token, task, data, attempt, pin, limit, cause, *_ in rows
    ]


def finish(
    redis: Redis,
    keys: Keys,
    claimed: Claimed,
    result: Any = None,
    *,
    reason: str = "",
    error: str = "",
    traceback: str = "",
    version: int = 1,
    ttl: int = 60,
    queue: str = "default",
) -> str:
    """Record an outcome: a result, or a failure where ``reason`` is given; returns the script's word."""
    status = "failed" if reason else "finished"
    value = "" if reason else base64.b64encode(codec.dumps(result)).decode()
    trace = base64.b64encode(zlib.compress(traceback.encode())).decode() if traceback else ""
    group = [keys.queue_name(queue), status, version, reason, error, trace, ttl, "", "1", "", "", "", "", ""]
    args = [keys.rq, keys.prefix, WORKER, 1, 1, *group, 1, claimed.run, claimed.token, "1.5", value]
    (word,) = scripts.load("finish").call(redis, [keys.leases, keys.lease, keys.events], args) or [b"ok"]
    return str(word.decode())


def release(
    redis: Redis, keys: Keys, claimed: Claimed, *, where: str = "front", counts: bool = False, record: dict[str, Any] | None = None
) -> str:
    """Give a claimed run back; returns the script's word."""
    blob = codec.dumps(record) if record else ""
    row = [claimed.run, claimed.token, keys.queue_name("default"), claimed.task, where, "1" if counts else "", "", blob, "", "", ""]
    names = [keys.leases, keys.lease, keys.parked_tasks, keys.events]
    (word,) = scripts.load("release").call(redis, names, [keys.rq, keys.prefix, *row])
    return str(word.decode())


def age(redis: Redis, keys: Keys, run: str) -> None:
    """Let a run's record expire now."""
    redis.delete(keys.rq_job(run), keys.rq_results(run), keys.attempts(run))
