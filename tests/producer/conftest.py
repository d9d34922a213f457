"""Each test of the client runs on the embedded server and on fakeredis."""

from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest
from redis import Redis

from taskq.producer import Client
from taskq.registry.settings import Settings


@pytest.fixture(params=["valkey", "fakeredis"])
def server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A clean server, real or faked."""
    if request.param == "valkey":
        yield request.getfixturevalue("redis")
        return
    with fakeredis.FakeRedis(version=(7,)) as fake:
        yield fake


@pytest.fixture
def client(server: Redis, settings: Settings) -> Iterator[Client]:
    with Client(server, settings=settings) as made:
        yield made
