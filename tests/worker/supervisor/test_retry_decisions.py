"""Whether a failed run is tried again, and when: decisions without a process or a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.registry.authoring.retry import Retry
from taskq.registry.errors import InvalidInput
from taskq.registry.model.retry import RetryPolicy
from taskq.registry.model.spec import Spec
from taskq.worker.runs import verdicts
from taskq.worker.runs.retrying import RETRIED, delay_of, wanted
from taskq.worker.runs.run import Run
from taskq.worker.runs.verdicts import Finish, Release

policies = st.builds(
    RetryPolicy,
    max=st.integers(1, 1000),
    backoff=st.sampled_from(["fixed", "linear", "exponential"]),
    delay=st.floats(0, 31_536_000),
    max_delay=st.floats(0.001, 31_536_000),
    jitter=st.floats(0, 1),
)


def a_run(retries: int = 0, losses: int = 0, **retry: Any) -> Run:
    return Run(
        id="r", token="7", queue="default", origin="taskq.default", task="t", attempt=1 + retries + losses, data=b"", losses=losses,
        retries=retries, began=1.0, version=3, spec=Spec.from_options("t", {"retry": Retry(**retry)}),
    )  # fmt: skip


def failed(*kinds: str, reason: str = "error") -> Mapping[str, Any]:
    return {"outcome": "failed", "reason": reason, "error": "ValueError: no", "traceback": "T", "kinds": list(kinds)}


# -- delays --------------------------------------------------------------------------------------------------
@given(policies, st.integers(1, 1000), st.text(min_size=1))
def test_a_delay_is_never_negative_and_never_above_max_delay(policy: RetryPolicy, retry: int, run: str) -> None:
    assert 0 <= delay_of(policy, retry, run) <= policy.max_delay


@given(policies, st.integers(1, 1000), st.text(min_size=1))
def test_a_delay_is_the_same_whoever_asks(policy: RetryPolicy, retry: int, run: str) -> None:
    assert delay_of(policy, retry, run) == delay_of(policy.model_copy(), retry, run)


@given(policies, st.integers(1, 1000), st.text(min_size=1))
def test_jitter_moves_a_delay_by_at_most_its_share(policy: RetryPolicy, retry: int, run: str) -> None:
    steady = delay_of(policy.model_copy(update={"jitter": 0.0}), retry, run)
    assert abs(delay_of(policy, retry, run) - steady) <= policy.jitter * steady * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    ("backoff", "delays"), [("fixed", [2, 2, 2, 2]), ("linear", [2, 4, 6, 8]), ("exponential", [2, 4, 8, 10])], ids=str
)
def test_each_backoff_grows_in_its_own_way_up_to_max_delay(backoff: str, delays: list[int]) -> None:
    policy = RetryPolicy.model_validate({"max": 9, "backoff": backoff, "delay": 2, "max_delay": 10, "jitter": 0})
    assert [delay_of(policy, retry, "r") for retry in (1, 2, 3, 4)] == delays


def test_runs_that_failed_together_do_not_come_back_together() -> None:
    policy = RetryPolicy(max=1, delay=10, jitter=0.5)
    delays = sorted(delay_of(policy, 1, f"r{number}") for number in range(200))
    assert len(set(delays)) == 200
    assert delays[0] < 6
    assert delays[-1] > 14
    assert 9 < sum(delays) / 200 < 11


def test_at_max_delay_runs_are_spread_as_well() -> None:
    delays = {delay_of(RetryPolicy(max=30, max_delay=100, jitter=0.2), 20, f"r{number}") for number in range(200)}
    assert len(delays) == 200
    assert 80 <= min(delays) < 85
    assert 95 < max(delays) <= 100


# -- what is retried -----------------------------------------------------------------------------------------
@given(st.sampled_from(["invalid_parameters", "result_too_large", "result_not_serialisable", "refused", "cancelled", "poison", "lost"]))
def test_what_would_fail_again_is_not_retried(reason: str) -> None:
    assert not wanted(RetryPolicy(max=5), reason, ["ValueError"])
    assert not wanted(RetryPolicy(max=5, on=(reason,)), reason, ["ValueError"])


@given(st.sampled_from(sorted(RETRIED)))
def test_without_on_each_failure_of_the_run_itself_is_retried(reason: str) -> None:
    assert wanted(RetryPolicy(max=5), reason, [])


def test_a_base_class_stands_for_all_that_are_derived_from_it() -> None:
    kinds = ["ConnectionResetError", "builtins.ConnectionResetError", "ConnectionError", "builtins.ConnectionError", "OSError", "Exception"]
    assert wanted(RetryPolicy(max=1, on=("ConnectionError",)), "error", kinds)
    assert wanted(RetryPolicy(max=1, on=("builtins.ConnectionError",)), "error", kinds)
    assert not wanted(RetryPolicy(max=1, on=("ValueError",)), "error", kinds)


def test_not_on_wins_over_on() -> None:
    policy = RetryPolicy(max=1, on=("OSError",), not_on=("ConnectionError",))
    assert wanted(policy, "error", ["FileNotFoundError", "OSError"])
    assert not wanted(policy, "error", ["ConnectionError", "OSError"])


def test_reasons_can_be_named_like_exceptions() -> None:
    assert not wanted(RetryPolicy(max=1, on=("ValueError",)), "timeout", [])
    assert wanted(RetryPolicy(max=1, on=("ValueError", "timeout")), "timeout", [])
    assert not wanted(RetryPolicy(max=1, not_on=("oom",)), "oom", [])


# -- verdicts ------------------------------------------------------------------------------------------------
def test_a_failure_with_retries_left_waits_for_its_next_attempt() -> None:
    verdict = verdicts.on_report(a_run(1, max=2, delay=4, jitter=0), failed("ValueError"))
    assert verdict == Release("later", burned=True, outcome="error", error="ValueError: no", delay=8.0, traceback="T")


def test_a_failure_without_retries_left_is_one() -> None:
    assert verdicts.on_report(a_run(2, max=2), failed("ValueError")) == Finish("failed", "error", "ValueError: no", traceback="T")


@given(st.integers(0, 2), st.integers(0, 5), st.integers(0, 5))
def test_f17_losses_use_up_no_retries_and_retries_no_losses(losses: int, retries: int, most: int) -> None:
    run = a_run(retries, losses, max=most)
    assert isinstance(verdicts.on_report(run, failed("ValueError")), Release) == (retries < most)
    died = verdicts.on_executor_death(run, -11)
    assert (died.losses, isinstance(died, Finish)) == (losses + 1, losses == 2)
    assert not isinstance(died, Finish) or died.reason == "poison"


def test_a_run_that_was_killed_at_its_deadline_is_retried_as_one_that_stopped_in_time() -> None:
    run = a_run(max=1, on=("timeout",))
    run.stop = "timeout"
    verdict = verdicts.on_executor_death(run, -9)
    assert isinstance(verdict, Release)
    assert (verdict.where, verdict.outcome, verdict.burned, verdict.losses) == ("later", "timeout", True, None)


def test_a_cancelled_run_is_not_retried() -> None:
    run = a_run(max=5)
    run.stop = "cancel"
    for report in (failed("ValueError"), {"outcome": "retry"}, failed(reason="cancelled")):
        assert isinstance(verdicts.on_report(run, report), Finish)
    assert isinstance(verdicts.on_executor_death(run, -9), Finish)


def test_a_run_can_ask_for_its_next_attempt_whatever_the_policy_retries() -> None:
    asked = {"outcome": "retry", "delay": 7200, "error": "429", "traceback": "T"}
    verdict = verdicts.on_report(a_run(max=1, not_on=("error",), max_delay=5), asked)
    assert verdict == Release("later", burned=True, outcome="error", error="429", delay=7200.0, traceback="T")
    assert verdicts.on_report(a_run(max=1, delay=3, jitter=0), {"outcome": "retry"}) == Release(
        "later", burned=True, outcome="error", error="the task asked for a retry", delay=3.0
    )


def test_a_run_that_asks_beyond_its_retries_fails_and_says_so() -> None:
    verdict = verdicts.on_report(a_run(2, max=2), {"outcome": "retry", "error": "429"})
    assert verdict == Finish("failed", "error", "the task asked for a retry, but its retries are used up (max=2); 429")
    verdict = verdicts.on_report(a_run(), {"outcome": "retry"})
    assert verdict == Finish("failed", "error", "the task asked for a retry, but it declares none: give it retry=Retry(max=…)")


@given(
    st.dictionaries(
        st.sampled_from(["outcome", "reason", "error", "traceback", "kinds", "delay"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.sampled_from(["retry", "failed"])
        | st.lists(st.text() | st.none()),
    )
)
def test_whatever_an_executor_says_a_delay_can_be_stored(report: dict[str, object]) -> None:
    verdict = verdicts.on_report(a_run(max=3), report)
    assert isinstance(verdict, Finish) or 0 <= verdict.delay < 1e9


# -- the declaration -----------------------------------------------------------------------------------------
class Mine(Exception):
    """One of the test's own."""


def test_exceptions_are_stored_by_name() -> None:
    spec = Spec.from_options("t", {"retry": Retry(max=1, on=(ValueError, Mine, "requests.Timeout"), not_on=KeyError)})
    assert spec.retry.on == ("ValueError", f"{__name__}.Mine", "requests.Timeout")
    assert spec.retry.not_on == ("KeyError",)
    assert Spec.load(spec.dump()) == spec


def test_a_task_without_retries_is_stored_as_before_there_were_any() -> None:
    assert Spec.from_options("t", {"retry": Retry(max=0)}).dump() == Spec().dump()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"max": -1}, "retry.max"),
        ({"max": 1001}, "retry.max"),
        ({"max": 2.5}, "retry.max"),
        ({"max": True}, "retry.max"),
        ({"backoff": "cubic"}, "retry.backoff"),
        ({"delay": "soon"}, "retry.delay"),
        ({"delay": -1}, "retry.delay"),
        ({"delay": 10**400}, "retry.delay"),
        ({"max": 1, "delay": "1h"}, "retry.delay"),
        ({"on": "poison"}, "retry.on"),
        ({"max_delay": 0}, "retry.max_delay"),
        ({"jitter": 1.5}, "retry.jitter"),
        ({"jitter": float("nan")}, "retry.jitter"),
        ({"on": int}, "retry.on"),
        ({"on": ("no name",)}, "retry.on"),
        ({"not_on": [7]}, "retry.not_on"),
    ],
    ids=str,
)
def test_a_policy_that_is_none_is_refused_by_name(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=f"task t: {field}: "):
        Spec.from_options("t", {"retry": Retry(**wrong)})


def test_what_is_no_policy_is_refused_with_what_to_write() -> None:
    with pytest.raises(InvalidInput, match=r"write retry=Retry\(max=…\)"):
        Spec.from_options("t", {"retry": 3})


def test_what_would_be_ignored_is_refused() -> None:
    with pytest.raises(InvalidInput, match="task t: retry: there is no 'maxx'"):
        Spec.from_options("t", {"retry": {"maxx": 3}})
