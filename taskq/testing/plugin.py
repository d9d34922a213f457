"""The fixtures, for pytest. This module is imported by each pytest that finds taskq installed, so it imports nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

# As a package: what it holds is loaded by the first test that asks for a fleet.
from taskq import testing

if TYPE_CHECKING:
    from taskq.testing.fleet import Fleet


@pytest.fixture
def taskq_settings() -> dict[str, Any]:
    """Settings of the test's fleet by name, such as ``{"namespace": "shop"}``: override this fixture to give some."""
    return {}


@pytest.fixture
def taskq_fleet(taskq_settings: dict[str, Any]) -> Iterator[Fleet]:
    """A fleet of the test's own (`taskq.testing.Fleet`): no server, no worker, nothing registered yet."""
    with testing.Fleet(**taskq_settings) as fleet:
        yield fleet
