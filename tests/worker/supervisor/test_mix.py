"""Short runs beside slow ones: where they wait, and where they do not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fleet import Fleet
from support.waiting import until

from taskq.registry import clock
from taskq.worker.link.page import Page
from taskq.worker.pool.behind import PATIENCE, SLOW, Behind, Prefetch
from taskq.worker.pool.handle import Handle
from taskq.worker.pool.seating import Seating
from taskq.worker.runs.averages import SHORT, Averages
from taskq.worker.runs.run import Run

# Without a file to wait for it is a no-op.
EITHER = (
    "import os, time\nfrom taskq.registry import task\n@task\ndef either(hold: str = ''):\n"
    "    while hold and not os.path.exists(hold): time.sleep(0.005)\n    return hold\n"
)
OTHER = EITHER.replace("def either", "def other")


class Executors:
    """A pool of executors that are no processes: what is in their inboxes is up to the test."""

    def __init__(self, count: int) -> None:
        self.guard = None
        self.handles = []
        for _ in range(count):
            page, memory = Page.make()
            os.close(memory)
            watcher: Any = SimpleNamespace(began=lambda handle: None)
            process: Any = SimpleNamespace(page=page, interrupt=lambda: None)
            self.handles.append(Handle(process, watcher))

    def seated(self) -> Iterator[Handle]:
        return iter(self.handles)

    def work(self, at: int, task: str, since: float = 0.0, *, goes_on: bool = True) -> Run:
        """One more run there; as the head it began so long ago, and ``goes_on`` unless its outcome is on its way."""
        run = Run(id="r", token="1", queue="default", origin="taskq.default", task=task, attempt=1, data=b"", limit=60.0)
        handle = self.handles[at]
        handle.run(run)
        if handle.head is run:
            run.began = clock.monotonic() - since
            handle.process.page.cells[0] = run.number + (not goes_on)
        return run


@pytest.fixture
def executors() -> Executors:
    return Executors(2)


def learnt(executors: Executors) -> Seating:
    """A seating that knows ``quick`` as short and ``slow`` as long, and of late short runs alone."""
    pool: Any = executors
    seating = Seating(pool)
    seating.learn("slow", 1.0)
    for _ in range(200):
        seating.learn("quick", 0.0001)
    return seating


def a_run(task: str) -> Run:
    return Run(id="r", token="1", queue="default", origin="taskq.default", task=task, attempt=1, data=b"", limit=60.0)


def test_a_worker_whose_executors_have_slow_runs_has_no_room(executors: Executors) -> None:
    seating = learnt(executors)
    seating.prefetch.saw(more=True)
    executors.work(0, "slow")
    assert seating.room(0) > 1
    executors.work(1, "slow")
    assert seating.room(0) == 0
    assert seating.pick(a_run("quick"), ("quick", 1)) is None
    assert not seating.behind.ends_soon()


def test_runs_are_claimed_to_wait_only_where_the_queue_held_more_than_could_start(executors: Executors) -> None:
    seating = learnt(executors)
    assert seating.room(0) == 2
    executors.work(0, "quick")
    assert seating.room(0) == 1
    executors.work(1, "quick")
    assert seating.room(0) == 0

    seating.prefetch.saw(more=True)
    assert (first := seating.room(0)) > 0
    seating.prefetch.saw(more=True)
    assert seating.room(0) == 2 * first
    seating.prefetch.saw(more=False)
    assert seating.room(0) == 0


def test_the_prefetch_grows_up_to_a_limit_and_ends_with_the_queue() -> None:
    prefetch = Prefetch()
    sizes = []
    for _ in range(20):
        prefetch.saw(more=True)
        sizes.append(prefetch.most)
    assert sizes == sorted(sizes) and sizes[-1] == sizes[-2] and sizes[1] == 2 * sizes[0]
    prefetch.saw(more=False)
    assert prefetch.most == 0


@pytest.mark.parametrize(
    ("task", "since", "goes_on", "waits"),
    [
        ("quick", 0.0, True, True),
        ("quick", SHORT * 1.5, True, False),
        ("quick", SHORT * 1.5, False, True),  # its outcome is on its way
        ("medium", SHORT * 1.2, True, True),  # no longer than such runs take
        ("medium", SLOW * 1.2, True, False),
        ("slow", 0.0, True, False),
        ("unknown", 0.0, True, False),
    ],
)
def test_runs_wait_behind_a_head_as_long_as_it_is_short(executors: Executors, task: str, since: float, goes_on: bool, waits: bool) -> None:
    averages = Averages()
    for name, seconds in (("quick", 0.0001), ("medium", 0.004), ("slow", 1.0)):
        averages.add(name, seconds)
    executors.work(0, task, since, goes_on=goes_on)
    pool: Any = executors
    assert Behind(pool, averages).may_wait(executors.handles[0]) is waits


def test_only_what_stands_behind_a_slow_head_is_taken_back_and_asked_for_once(
    executors: Executors, monkeypatch: pytest.MonkeyPatch
) -> None:
    seating = learnt(executors)
    asked: list[int] = []
    monkeypatch.setattr(Handle, "_tell", lambda _, kind, number, body: asked.append(number))
    head = executors.work(0, "quick")
    behind = [executors.work(0, "quick").number for _ in range(3)]
    executors.work(1, "quick", 1.0)
    assert seating.behind.relieve()
    assert asked == []

    head.began -= 2 * SHORT
    executors.handles[0].process.page.cells[0] = head.number
    assert seating.behind.relieve()
    assert asked == behind
    late = executors.work(0, "quick").number
    seating.behind.relieve()
    assert asked == [*behind, *behind, late]


@pytest.mark.parametrize(
    ("task", "since", "soon"),
    [("quick", 0.0, True), ("quick", 2 * SHORT, False), ("longer", 0.02, True), ("longer", PATIENCE * 1.2, False), ("slow", 0.0, False)],
)
def test_a_run_waits_here_only_for_an_executor_that_is_free_soon(executors: Executors, task: str, since: float, soon: bool) -> None:
    seating = learnt(executors)
    seating.learn("longer", PATIENCE / 2)
    executors.work(0, "slow")
    executors.work(1, task, since)
    assert seating.behind.ends_soon() is soon


# -- with workers ------------------------------------------------------------------------------------------
def warm(fleet: Fleet) -> None:
    """Until the workers know that these runs are short."""
    for run in fleet.enqueue("either", 200):
        fleet.ended(run)


def in_progress(fleet: Fleet, run: str) -> None:
    until(lambda: fleet.field(run, "version") == "1", what=f"run {run} is in progress\n{fleet.texts()}")


def test_no_short_run_waits_for_the_end_of_a_slow_one_of_the_same_task_while_an_executor_is_free(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("either", EITHER)
    fleet.start(2, name="first")
    fleet.start(2, name="second")
    warm(fleet)
    holds = [tmp_path / str(number) for number in range(3)]
    slow, quick = [], []
    for hold in holds:
        quick += fleet.enqueue("either", 40)
        slow += fleet.enqueue("either", hold=str(hold))
        quick += fleet.enqueue("either", 40)

    # One executor of four is free: all that is short ends there, while all that is slow goes on.
    for run in quick:
        assert fleet.result(run) == ""
    for run in slow:
        in_progress(fleet, run)
        assert fleet.field(run, "status") == "started"
    for hold in holds:
        hold.touch()
    assert [fleet.result(run) for run in slow] == [str(hold) for hold in holds]
    assert {fleet.field(run, "attempt") for run in quick + slow} == {"1"}


def test_a_worker_whose_executors_are_all_slow_leaves_the_queue_alone_until_one_is_free(fleet: Fleet, tmp_path: Path) -> None:
    fleet.put("either", EITHER)
    fleet.put("other", OTHER)
    fleet.start(2)
    warm(fleet)
    holds = [tmp_path / "first", tmp_path / "second"]
    slow = [run for hold in holds for run in fleet.enqueue("other", hold=str(hold))]
    for run in slow:
        in_progress(fleet, run)
    claims = int(fleet.redis.get(fleet.keys.fence) or 0)
    quick = fleet.enqueue("either", 20)

    # Renewals go on, so that time has passed for a claim.
    seen, until_when = set(), time.monotonic() + 0.5
    until(lambda: seen.add(int(fleet.redis.get(fleet.keys.fence) or 0)) or time.monotonic() > until_when, what="time has passed")
    assert seen == {claims}
    assert [run.decode() for run in fleet.redis.lrange(fleet.keys.rq_queue("default"), 0, -1)] == quick

    holds[0].touch()
    for run in quick:
        assert fleet.result(run) == ""
    assert fleet.field(slow[1], "status") == "started"
    holds[1].touch()
    assert fleet.ended(slow[1]) == "finished"
