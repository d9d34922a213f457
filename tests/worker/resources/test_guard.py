"""What becomes of a run whose limits its control group does not take."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from support.groups import Pretended
from support.puppet import Puppet

from taskq.registry.model.spec import Spec
from taskq.worker.resources import guard, v2
from taskq.worker.resources.guard import Guard
from taskq.worker.runs.run import Run

LIMITED = Spec.model_validate({"resources": {"memory": "64M", "pids": 8}})


def test_a_limit_that_was_set_before_another_was_refused_is_lifted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, puppet: Puppet) -> None:
    monkeypatch.setattr(v2, "Group", Pretended)
    own = Pretended.root(tmp_path / "own", "memory pids", os.getpid())
    backend = v2.open_v2(own, "w1")
    assert isinstance(backend, v2.Version2), backend
    monkeypatch.setattr(guard, "choose", lambda *_: backend)
    made = Guard("auto", "w1")
    made.start()
    run = Run("r1", "1", "default", "taskq.default", "greedy", 1, b"", spec=LIMITED)
    handle, group = Mock(process=puppet, dead=False), Pretended(own / f"taskq-{os.getpid()}-w1" / str(puppet.pid))
    monkeypatch.setattr(Pretended, "broken", {"pids.max"})

    async def begin_and_end() -> str:
        made.begin(handle, run)
        limit = group.read("memory.max")
        made.finished(handle, run)
        return limit

    assert asyncio.run(begin_and_end()) == "max\n"
    assert puppet.process.poll() is None
