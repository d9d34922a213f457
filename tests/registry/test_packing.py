"""Commands are packed in C to the same bytes as redis-py makes."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import Connection, UnixDomainSocketConnection
from redis.exceptions import DataError

from taskq.registry.connect import connect_worker
from taskq.registry.runtime.packing import packing
from taskq.registry.settings import Settings

COMMANDS: list[tuple[Any, ...]] = [
    ("PING",),
    ("EVALSHA", "0" * 40, 1, "key", b"\xc1\x01\x80", 1.5, "ü \u2028", -3, ""),
    ("CONFIG GET", "save"),
    (b"GET", "key"),
    ("SET", "key", "x" * 100_000),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_a_command_is_packed_as_redis_py_packs_it(command: tuple[Any, ...]) -> None:
    plain, packed = Connection(), packing(Connection)()
    assert b"".join(packed.pack_command(*command)) == b"".join(plain.pack_command(*command))


@pytest.mark.parametrize("value", [None, True, object()])
def test_what_redis_py_refuses_is_refused_in_its_words(value: object) -> None:
    with pytest.raises(DataError, match="Invalid input of type"):
        packing(Connection)().pack_command("SET", "key", value)


def test_workers_connections_pack_in_c_and_others_are_left_alone(settings: Settings) -> None:
    made = connect_worker(settings).connection_pool.connection_class
    assert issubclass(made, UnixDomainSocketConnection) and made is packing(UnixDomainSocketConnection)
    assert packing(made) is made
    assert packing(int) is int
