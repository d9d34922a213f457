"""Fixtures of the acceptance tests: the installed command in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import Command

from taskq.registry.settings import Settings


@pytest.fixture
def taskq(settings: Settings, tmp_path: Path) -> Command:
    return Command(settings, tmp_path)
