"""A registry of schedules, a fake server whose clock is moved, and scheduler processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis as redis_py
from fakeredis import _helpers
from fakeredis.commands_mixins import server_mixin
from support.scheduling import Registry, Schedulers

from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

START = 1_800_001_234_567
"""Where the fake clock begins, in ms: amid an hour."""


class FakeTime:
    """The module `time` as fakeredis sees it; ``now`` is in ms."""

    def __init__(self) -> None:
        self.now = START

    def time(self) -> float:
        return self.now / 1000

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The clock of `fake`."""
    made = FakeTime()
    for module in (_helpers, server_mixin):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def fake(clock: FakeTime) -> Iterator[redis_py.Redis]:
    """A fake server whose clock stands still until it is moved."""
    with fakeredis.FakeRedis(version=(7,)) as client:
        yield client


@pytest.fixture(params=["valkey", "fakeredis"])
def server(request: pytest.FixtureRequest) -> redis_py.Redis:
    """A clean server, real or faked."""
    name = "redis" if request.param == "valkey" else "fake"
    made: redis_py.Redis = request.getfixturevalue(name)
    return made


@pytest.fixture
def registry(redis: redis_py.Redis, keys: Keys) -> Registry:
    return Registry(redis, keys)


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Settings of processes under test: a lease that is over soon."""
    return settings.model_copy(update={"scheduler_lease": 1.0})


@pytest.fixture
def schedulers(quick: Settings, redis: redis_py.Redis, tmp_path: Path) -> Iterator[Schedulers]:
    made = Schedulers(quick, redis, tmp_path)
    try:
        yield made
    finally:
        made.stop()
