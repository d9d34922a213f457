"""A short trial, and the schedule that it follows."""

from __future__ import annotations

import ast
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from chaos.plan import KINDS, PLACES, faults, schedule
from chaos.trial import run_trial, told
from taskq.registry.runtime.faults import POINTS, arm, disarm, point

ROOT = Path(__file__).resolve().parents[2]
KILLS = 30


def _points_in_the_code() -> Counter[str]:
    """How often each point stands in the code."""
    found: Counter[str] = Counter()
    for room in ("registry", "producer", "worker"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "point":
                    assert isinstance(node.args[0], ast.Constant)
                    found[node.args[0].value] += 1
    return found


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert schedule(7, 200) == schedule(7, 200)
    assert schedule(7, 200) != schedule(8, 200)


def test_200_faults_are_at_all_places_of_all_kinds() -> None:
    met = {(fault.kind, fault.place) for fault in islice(faults(1), 200)}
    assert met == {(kind, place) for kind in KINDS for place in PLACES[kind]}


def test_each_point_stands_in_the_code_and_no_other() -> None:
    assert _points_in_the_code().keys() == POINTS.keys()


def test_a_point_acts_the_time_that_it_was_told_to_and_no_other() -> None:
    reached: list[int] = []
    try:
        arm("worker.claimed", 2, lambda: reached.append(1))
        point("worker.claimed")
        assert not reached
        point("worker.recorded")
        point("worker.claimed")
        point("worker.claimed")
        assert reached == [1]
    finally:
        disarm()


def test_a_point_that_there_is_not_cannot_be_armed() -> None:
    with pytest.raises(KeyError):
        arm("worker.nowhere")


@pytest.mark.timeout(300)
@pytest.mark.process
def test_nothing_is_lost_and_nothing_is_doubled() -> None:
    with tempfile.TemporaryDirectory(prefix="tqc") as folder:
        trial, report = run_trial(Path(folder), seed=4, kills=KILLS)
        lines = "\n".join([*told(trial, report), *_logs(Path(folder))])
        assert not report.faults, lines
        assert len(trial.deaths) == KILLS
        assert report.starts >= report.runs > 0, lines
        assert report.slots > 0, lines


def _logs(folder: Path) -> list[str]:
    return [f"--- {file.name}\n{file.read_text()[-3000:]}" for file in folder.glob("*.log")]
