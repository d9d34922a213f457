"""Fixtures of the tests of limits: a process in place of an executor, and real control groups that must be gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.puppet import Puppet
from support.waiting import until

from taskq.worker.resources import places
from taskq.worker.resources.v1 import Version1, open_v1


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    made = Puppet()
    yield made
    made.end()


def left_behind() -> list[Path]:
    """Control groups of this process that are still there."""
    unified, by_controller = places.look()
    folders = {*by_controller.values(), *([unified] if unified else [])}
    return [path for folder in folders for path in folder.glob(f"taskq-{os.getpid()}-*")]


@pytest.fixture
def v1() -> Iterator[Version1]:
    made = open_v1(places.look()[1], "test")
    if isinstance(made, str):
        pytest.skip(f"this machine has no control groups that can be written: {made}")
    yield made
    until(made.close, what="the control groups are removed")
    assert left_behind() == []
