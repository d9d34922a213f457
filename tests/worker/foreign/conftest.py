"""Workers and a queue for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
from rq import Queue
from support.foreign import Workers

from taskq.registry.settings import Settings


@pytest.fixture
def workers(settings: Settings, redis: redis_py.Redis, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(settings, redis, tmp_path)
    yield made
    made.end()


@pytest.fixture
def bare(settings: Settings) -> Iterator[redis_py.Redis]:
    """A client as teams of RQ make it."""
    with redis_py.Redis.from_url(str(settings.redis_url)) as client:
        yield client


@pytest.fixture
def queue(bare: redis_py.Redis) -> Queue:
    return Queue("legacy", connection=bare)
