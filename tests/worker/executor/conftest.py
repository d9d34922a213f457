"""An executor process a test, ended with the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.executor import DrivenExecutor


@pytest.fixture
def executor() -> Iterator[DrivenExecutor]:
    driven = DrivenExecutor()
    yield driven
    driven.close()
