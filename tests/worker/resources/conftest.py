"""Fixtures of the tests of limits: a process in place of an executor, and real control groups that must be gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fleet import Fleet
from support.puppet import Puppet
from support.waiting import until

from taskq.worker.resources import places
from taskq.worker.resources.v1 import Version1, open_v1


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    made = Puppet()
    yield made
    made.end()


def left_behind(pid: int) -> list[Path]:
    """Control groups of a worker's process that are still there."""
    unified, by_controller = places.look()
    folders = {*by_controller.values(), *([unified] if unified else [])}
    return [path for folder in folders for path in folder.glob(f"taskq-{pid}-*")]


@pytest.fixture
def fleet(fleet: Fleet) -> Iterator[Fleet]:
    """Workers whose control groups must be gone once they have ended, unless they were killed."""
    try:
        yield fleet
    finally:
        fleet.stop()
    ended = [worker.process.pid for worker in fleet.workers if worker.process.returncode == 0]
    assert {pid: left_behind(pid) for pid in ended} == {pid: [] for pid in ended}


@pytest.fixture
def control_groups() -> str:
    """What `limits_by` is set to for control groups of version 1; only where this machine has them."""
    made = open_v1(places.look()[1], "probe")
    if isinstance(made, str):
        pytest.skip(f"this machine has no control groups that can be written: {made}")
    until(made.close, what="the control groups are removed")
    return "v1"


@pytest.fixture(params=["v1", "watchdog"])
def backend(request: pytest.FixtureRequest) -> str:
    """What `limits_by` is set to: each backend that works here."""
    return str(request.getfixturevalue("control_groups") if request.param == "v1" else request.param)


@pytest.fixture
def v1() -> Iterator[Version1]:
    made = open_v1(places.look()[1], "test")
    if isinstance(made, str):
        pytest.skip(f"this machine has no control groups that can be written: {made}")
    yield made
    until(made.close, what="the control groups are removed")
    assert left_behind(os.getpid()) == []
