"""Decisions without a process or a server: verdicts, routes, leases, averages, backoff."""

from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.registry import codec
from taskq.registry.backoff import Backoff
from taskq.registry.model.record import Route, TaskRecord
from taskq.registry.model.spec import Spec
from taskq.worker.loading.routes import PARK, PUT_BACK, RETIRED, route, routed_versions
from taskq.worker.runs import verdicts
from taskq.worker.runs.averages import DEPTH, Averages
from taskq.worker.runs.run import Run, StopReason
from taskq.worker.runs.verdicts import Finish, Release


def a_run(losses: int = 0, stop: StopReason | None = None, *, began: float = 1.0, **spec: object) -> Run:
    return Run(
        id="r", token="7", queue="default", origin="taskq.default", task="t", attempt=losses + 1, data=b"",
        losses=losses, stop=stop, began=began, version=3, spec=Spec.model_validate(spec),
    )  # fmt: skip


# -- reports -------------------------------------------------------------------------------------------------
def test_a_success_carries_its_result() -> None:
    assert verdicts.on_report(a_run(), {"outcome": "succeeded", "result": b"blob"}) == Finish("finished", result=b"blob")


def test_a_failure_carries_reason_error_and_traceback() -> None:
    report = {"outcome": "failed", "reason": "result_too_large", "error": "E", "traceback": "T"}
    assert verdicts.on_report(a_run(), report) == Finish("failed", "result_too_large", "E", traceback="T")


@given(
    st.dictionaries(
        st.sampled_from(["outcome", "reason", "error", "traceback", "result", "ms"]),
        st.none() | st.integers() | st.text() | st.binary() | st.lists(st.integers()),
    )
)
def test_whatever_an_executor_says_there_is_a_verdict_that_can_be_stored(report: dict[str, object]) -> None:
    verdict = verdicts.on_report(a_run(), report)
    assert isinstance(verdict, Finish | Release)
    if isinstance(verdict, Finish):
        verdict.error.encode()
        assert zlib.decompress(base64.b64decode(verdicts.stored_traceback(verdict.traceback) or verdicts.stored_traceback("x")))


def test_a_run_whose_version_could_not_be_loaded_goes_to_the_back() -> None:
    assert verdicts.on_report(a_run(), {"outcome": "released", "reason": "not_loaded"}) == Release("back")


def test_a_run_that_was_handed_back_goes_to_the_front_unharmed() -> None:
    assert verdicts.on_report(a_run(), {"outcome": "released", "reason": None}) == Release("front")


def test_a_run_that_was_stopped_for_a_shutdown_is_not_failed() -> None:
    verdict = verdicts.on_report(a_run(stop="shutdown"), {"outcome": "failed", "reason": "cancelled"})
    assert isinstance(verdict, Release)
    assert (verdict.burned, verdict.outcome) == (False, "released")


def test_a_result_is_taken_even_from_a_run_that_was_told_to_stop() -> None:
    assert verdicts.on_report(a_run(stop="shutdown"), {"outcome": "succeeded", "result": b"x"}) == Finish("finished", result=b"x")


# -- deaths --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("losses", [0, 1])
def test_the_first_two_deaths_put_a_run_to_the_front_with_a_burned_attempt(losses: int) -> None:
    verdict = verdicts.on_executor_death(a_run(losses), -9)
    assert verdict == Release("front", burned=True, losses=losses + 1, outcome="executor_died", error="signal 9 (SIGKILL)")


def test_the_third_death_is_poison() -> None:
    verdict = verdicts.on_executor_death(a_run(2), 3)
    assert isinstance(verdict, Finish)
    assert (verdict.status, verdict.reason, verdict.losses) == ("failed", "poison", 3)
    assert "exit code 3" in verdict.error


def test_a_task_that_must_not_run_again_fails_as_lost() -> None:
    verdict = verdicts.on_loss(0, Spec.model_validate({"on_lost": "fail"}), "worker_lost", "worker w1")
    assert isinstance(verdict, Finish)
    assert (verdict.reason, verdict.losses) == ("lost", 1)


@pytest.mark.parametrize(("stop", "status", "reason"), [("timeout", "failed", "timeout"), ("cancel", "canceled", "")])
def test_a_death_by_our_own_hand_is_the_deadlines(stop: StopReason, status: str, reason: str) -> None:
    verdict = verdicts.on_executor_death(a_run(2, stop), -9)
    assert isinstance(verdict, Finish)
    assert (verdict.status, verdict.reason, verdict.losses) == (status, reason, None)


@pytest.mark.parametrize("report", [{"outcome": "failed", "reason": "cancelled"}, {"outcome": "failed"}, {"outcome": "released"}])
def test_a_run_that_was_to_be_cancelled_is_cancelled_however_it_stopped(report: dict[str, str]) -> None:
    verdict = verdicts.on_report(a_run(stop="cancel"), report)
    assert isinstance(verdict, Finish)
    assert verdict.status == "canceled"


def test_a_shutdown_burns_nothing_and_records_only_what_had_begun() -> None:
    assert verdicts.on_shutdown(a_run(began=0.0)) == Release("front")
    assert verdicts.on_shutdown(a_run()).outcome == "released"


def test_the_record_of_an_attempt_reads_as_it_was() -> None:
    blob = verdicts.attempt_record(a_run(), "w", Release("front", outcome="executor_died", error="signal 9"), 5.0)
    assert codec.loads(blob) == {
        "attempt": 1, "worker": "w", "version": 3, "outcome": "executor_died", "error": "signal 9", "started_at": 0.0, "ended_at": 5.0,
    }  # fmt: skip
    assert verdicts.attempt_record(a_run(), "w", verdicts.HAND_BACK, 5.0) == b""


# -- routes --------------------------------------------------------------------------------------------------
def record(state: str = "active", stable: int | None = 2, staged: int | None = None) -> TaskRecord:
    return TaskRecord.model_validate({"task": "t", "state": state, "route": Route(stable=stable, staged=staged)})


def test_a_run_gets_the_stable_version_or_its_pin() -> None:
    assert route(record(), None) == 2
    assert route(record(staged=3), None) == 2
    assert route(record(), 1) == 1


def test_a_run_without_a_version_or_a_readable_record_is_put_back() -> None:
    assert route(None, None) == PUT_BACK
    assert route(record(stable=None, staged=1), None) == PUT_BACK


def test_paused_and_retired_tasks_start_nothing_pinned_or_not() -> None:
    for pin in (None, 1):
        assert route(record("paused"), pin) == PARK
        assert route(record("retired"), pin) == RETIRED


def test_what_is_routed_is_loaded_even_while_paused() -> None:
    assert routed_versions(record("paused", 1, 2)) == {1, 2}
    assert routed_versions(record("retired", 1, 2)) == set()
    assert routed_versions(None) == set()


# -- averages and backoff ------------------------------------------------------------------------------------
def test_a_task_is_short_only_once_it_was_seen_to_be() -> None:
    averages = Averages()
    assert not averages.short("t")
    averages.add("t", 0.001)
    assert averages.short("t")


def test_one_slow_run_ends_the_prefetch_of_its_task() -> None:
    averages = Averages()
    for _ in range(100):
        averages.add("t", 0.0001)
    averages.add("t", 2.0)
    assert not averages.short("t")


@given(st.floats(0.0, 10.0))
def test_what_stands_in_an_inbox_is_never_more_than_80_ms_of_work(mean: float) -> None:
    averages = Averages()
    averages.add("t", mean)
    depth = averages.depth("t")
    assert 1 <= depth <= DEPTH
    assert depth == 1 or depth * mean <= 0.0801
    assert (depth > 1) == averages.short("t")


def test_the_shorter_runs_are_the_more_of_them_stand_in_an_inbox() -> None:
    averages = Averages()
    for task, mean in (("no-op", 0.00002), ("short", 0.002), ("medium", 0.0049), ("long", 0.006)):
        averages.add(task, mean)
    assert [averages.depth(task) for task in ("no-op", "short", "medium", "long", "unknown")] == [DEPTH, 40, 16, 1, 1]


@given(st.floats(0.001, 1.0), st.floats(1.0, 60.0), st.integers(1, 80))
def test_a_backoff_never_exceeds_its_cap_and_never_stands_still(base: float, cap: float, times: int) -> None:
    backoff = Backoff(base, cap)
    delays = [backoff.next() for _ in range(times)]
    assert all(base / 2 <= delay <= cap for delay in delays)
    backoff.reset()
    assert backoff.next() <= base
