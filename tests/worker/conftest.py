"""A fleet for each test of workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
from support.fleet import Fleet

from taskq.registry.settings import Settings


@pytest.fixture
def fleet(settings: Settings, redis: redis_py.Redis, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(settings, redis, tmp_path)
    try:
        yield made
    finally:
        made.stop()
