"""The decisions of a registration, checked against a plain model of what may happen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.registry.changes.plan import Demands, Step, Wanted, in_progress, plan
from taskq.registry.changes.transitions import adopted, paused, retired, staged, switched, unstaged
from taskq.registry.errors import Conflict
from taskq.registry.model.record import Route, TaskRecord
from taskq.registry.model.spec import Spec


def wanted(content: int = 0, origin: str = "mine") -> Wanted:
    return Wanted("job", f"{content:064}", "job", "job.py", origin, Spec())


RECORD = TaskRecord(task="job", origin="mine", latest=3, route=Route(stable=3), withdrawn=(2,), revision=7)


@pytest.mark.parametrize(
    ("record", "same", "step"),
    [
        (None, None, Step("new", 1)),
        (RECORD, None, Step("new", 4)),
        (RECORD, 3, Step("unchanged", 3)),
        (RECORD, 1, Step("again", 1)),
        (retired(RECORD), 3, Step("again", 3)),
        (retired(RECORD), None, Step("new", 4)),
        (paused(RECORD), 3, Step("unchanged", 3)),
    ],
)
def test_content_decides_which_version_it_is(record: TaskRecord | None, same: int | None, step: Step) -> None:
    assert plan(wanted(), record, same, Demands(), 7) == step


def test_content_that_was_rolled_back_from_needs_force() -> None:
    with pytest.raises(Conflict, match="version 2, which was rolled back from"):
        plan(wanted(), RECORD, 2, Demands(), 7)
    assert plan(wanted(), RECORD, 2, Demands(force=True), 7) == Step("again", 2)


def test_another_origin_needs_to_take_over() -> None:
    with pytest.raises(Conflict, match="belongs to origin mine, not to other"):
        plan(wanted(origin="other"), RECORD, None, Demands(), 7)
    assert plan(wanted(origin="other"), RECORD, None, Demands(take_over=True), 7) == Step("new", 4)
    assert plan(wanted(origin="other"), RECORD, 3, Demands(take_over=True), 7) == Step("again", 3)


@pytest.mark.parametrize(
    ("demands", "met"),
    [(Demands(if_version=3), True), (Demands(if_version=2), False), (Demands(if_revision=7), True), (Demands(if_revision=6), False)],
)
def test_a_demand_that_is_not_met_is_a_conflict_that_names_both(demands: Demands, met: bool) -> None:
    if met:
        assert plan(wanted(), RECORD, None, demands, 7).kind == "new"
    else:
        with pytest.raises(Conflict, match=r"at (version 3|revision 7), not at (2|6)"):
            plan(wanted(), RECORD, None, demands, 7)


def test_version_zero_demands_that_there_is_no_such_task() -> None:
    assert plan(wanted(), None, None, Demands(if_version=0), 7) == Step("new", 1)
    with pytest.raises(Conflict):
        plan(wanted(), RECORD, None, Demands(if_version=0), 7)


def test_a_rollout_is_in_progress_until_its_time_is_over() -> None:
    record = staged(RECORD, 4, until=100.0)
    assert in_progress(record, 99.9)
    assert not in_progress(record, 100.0)
    assert not in_progress(staged(RECORD, 4, None), 1.0)
    assert not in_progress(switched(record, 4, Spec()), 1.0)


def test_a_failed_rollout_of_a_retired_task_leaves_it_retired() -> None:
    before = retired(RECORD)
    on_stage = staged(adopted(before, wanted(), 4), 4, 100.0)
    assert (on_stage.state, on_stage.route.stable, on_stage.route.staged) == ("active", None, 4)
    after = unstaged(on_stage, before)
    assert (after.state, after.route, after.latest) == ("retired", Route(stable=3), 4)


class Task:
    """A task's life as the registry would have it: what `plan` and the transitions are played on."""

    def __init__(self) -> None:
        self.record: TaskRecord | None = None
        self.contents: dict[int, int] = {}

    def register(self, content: int, demands: Demands) -> Step | None:
        try:
            step = plan(wanted(content), self.record, self.contents.get(content), demands, 0)
        except Conflict:
            return None
        if step.kind != "unchanged":
            self.contents.setdefault(content, step.version)
            self.record = switched(staged(adopted(self.record, wanted(content), step.version), step.version, 1.0), step.version, Spec())
        return step

    def roll_back(self) -> None:
        record = self.record
        if record is None or record.state == "retired" or record.route.stable is None:
            return
        earlier = [version for version in range(1, record.route.stable) if version not in record.withdrawn]
        if earlier:
            self.record = switched(record, earlier[-1], Spec(), withdraw=True)


REGISTER = st.tuples(st.just("register"), st.integers(0, 4), st.booleans())
OTHERS = st.sampled_from([("rollback", 0, False), ("retire", 0, False)])


@given(moves=st.lists(REGISTER | OTHERS, max_size=30))
def test_versions_only_grow_and_equal_content_is_never_a_new_version(moves: list[tuple[str, int, bool]]) -> None:
    task = Task()
    given_numbers: list[int] = []
    for move, content, force in moves:
        before = task.record
        if move == "register":
            known = task.contents.get(content)
            step = task.register(content, Demands(force=force))
            if step is None:
                # Only what was withdrawn is refused, and never with force.
                assert before is not None
                assert not force
                assert known in before.withdrawn
                assert task.record == before
                continue
            assert (step.kind == "new") == (known is None)
            if step.kind == "new":
                given_numbers.append(step.version)
            assert task.record is not None
            assert (task.record.route.stable, task.record.state) == (step.version, "active")
            assert step.version not in task.record.withdrawn
        elif move == "rollback":
            task.roll_back()
        elif task.record is not None:
            task.record = retired(task.record)
        if task.record is not None:
            assert before is None or task.record.latest >= before.latest
            assert task.record.route.stable not in task.record.withdrawn
    assert given_numbers == list(range(1, len(given_numbers) + 1))
    assert sorted(task.contents.values()) == given_numbers
