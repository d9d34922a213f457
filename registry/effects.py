"""One core, two thin faces: operations are generators that yield what Redis shall do and receive the reply.

``run_sync`` and ``run_async`` drive the same generator over a blocking or an asyncio client, so that nothing is written
twice. An operation never sees a connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from redis import exceptions as redis_errors

from taskq.registry.errors import ServerUnreachable, TaskqError
from taskq.registry.scripts import Script

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

T = TypeVar("T")
Arg = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Command:
    """One Redis command, for example ``Command("HGET", key, field)``; the reply is redis-py's for that command."""

    name: str
    args: tuple[Arg, ...]

    def __init__(self, name: str, *args: Arg) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "args", args)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a Lua script; the reply is the script's. It is loaded again where the server does not know it."""

    script: Script
    keys: Sequence[str]
    args: Sequence[Arg]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands sent together; the reply is the list of theirs. ``atomic``: in one MULTI."""

    commands: Sequence[Command]
    atomic: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in seconds in which nothing is asked; the reply is None."""

    seconds: float


Effect = Command | Call | Pipeline | Pause
Op = Generator[Effect, Any, T]


def run_sync(op: Op[T], redis: Redis) -> T:
    """Drive ``op`` over a blocking client and return its value; errors of the connection become `ServerUnreachable`."""
    try:
        effect = next(op)
        while True:
            try:
                reply = _perform(effect, redis)
            except redis_errors.RedisError as error:
                effect = op.throw(translate(error))
            else:
                effect = op.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the generator's return value is T
    finally:
        op.close()


async def run_async(op: Op[T], redis: AsyncRedis) -> T:
    """Drive ``op`` over an asyncio client; the same as `run_sync` otherwise."""
    try:
        effect = next(op)
        while True:
            try:
                reply = await _perform_async(effect, redis)
            except redis_errors.RedisError as error:
                effect = op.throw(translate(error))
            else:
                effect = op.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # the generator's return value is T
    finally:
        op.close()


def _perform(effect: Effect, redis: Redis) -> Any:
    if isinstance(effect, Command):
        return redis.execute_command(effect.name, *effect.args)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    if isinstance(effect, Call):
        return effect.script.call(redis, effect.keys, effect.args)
    if isinstance(effect, Pause):
        return time.sleep(effect.seconds)
    with redis.pipeline(transaction=effect.atomic) as pipe:
        for command in effect.commands:
            pipe.execute_command(command.name, *command.args)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        return pipe.execute()


async def _perform_async(effect: Effect, redis: AsyncRedis) -> Any:
    if isinstance(effect, Command):
        return await redis.execute_command(effect.name, *effect.args)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    if isinstance(effect, Call):
        return await effect.script.call_async(redis, effect.keys, effect.args)
    if isinstance(effect, Pause):
        return await asyncio.sleep(effect.seconds)
    async with redis.pipeline(transaction=effect.atomic) as pipe:
        for command in effect.commands:
            pipe.execute_command(command.name, *command.args)
        return await pipe.execute()


def translate(error: redis_errors.RedisError) -> TaskqError | redis_errors.RedisError:
    """The error of ours that says what a redis-py error means for a user; the error itself where it is a bug of ours."""
    text = str(error)
    if isinstance(error, redis_errors.AuthenticationError | redis_errors.NoPermissionError):
        hint = "check user and password in the URL, or the file that TASKQ_REDIS_PASSWORD_FILE names"
        return ServerUnreachable(f"Redis refused the credential: {text}", hint=hint)
    if isinstance(error, redis_errors.ConnectionError | redis_errors.TimeoutError):
        return ServerUnreachable(f"Redis can't be reached: {text}", hint="check the URL and that the server runs")
    if isinstance(error, redis_errors.OutOfMemoryError) or text.startswith("OOM "):
        return TaskqError("Redis is full (maxmemory) and accepts no writes", hint="raise maxmemory or free memory; see `taskq doctor`")
    if isinstance(error, redis_errors.ReadOnlyError | redis_errors.ClusterDownError) or text.startswith("BUSY "):
        return ServerUnreachable(f"Redis takes no writes: {text}", hint="check that the URL names the primary, and see `taskq doctor`")
    if "MISCONF" in text:
        return TaskqError("Redis can't persist and refuses writes (MISCONF)", hint="check the server's disk; see `taskq doctor`")
    return error
