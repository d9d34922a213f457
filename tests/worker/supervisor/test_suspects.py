"""Which leases are taken over, and when: two looks, a sweep apart, of which the first may come before the expiry."""

from __future__ import annotations

import pytest

from taskq.worker.runs.suspects import Lease, Suspects, late_within

SWEEP = 1.0


def late(run: str = "a", token: str = "1", *, expiry: int = 9, left: float = -0.1, noted: float = 0.0) -> Lease:
    return Lease(run, token, "w", "taskq.default", "t", 1, 0, None, None, None, expiry, left, noted)


@pytest.fixture
def suspects() -> Suspects:
    return Suspects(SWEEP)


def looked(suspects: Suspects, at: float, *leases: Lease) -> list[str]:
    """The runs that a look at this moment, answered at once, has taken over."""
    return [lease.run for lease in suspects.look(leases, at, at)]


def test_a_lease_is_taken_over_only_when_it_was_seen_late_twice_a_sweep_apart(suspects: Suspects) -> None:
    assert looked(suspects, 10.0, late("a")) == []
    assert looked(suspects, 10.9, late("a")) == []
    assert looked(suspects, 11.0, late("a"), late("b")) == ["a"]
    assert looked(suspects, 12.0, late("b")) == ["b"]


def test_the_first_look_may_come_before_the_expiry_and_the_second_may_not(suspects: Suspects) -> None:
    assert looked(suspects, 10.0, late(left=1.5)) == []
    assert suspects.due == 11.5
    assert looked(suspects, 11.2, late(left=0.3)) == []
    assert looked(suspects, 11.6, late(left=-0.1)) == ["a"]


def test_what_is_seen_late_only_just_before_its_expiry_waits_for_a_sweep(suspects: Suspects) -> None:
    assert looked(suspects, 10.0, late(left=0.1)) == []
    assert suspects.due == 11.0
    assert looked(suspects, 10.5, late(left=-0.4)) == []


@pytest.mark.parametrize("another", [late(expiry=10), late(token="2")], ids=["renewed", "claimed again"])
def test_a_lease_that_its_owner_or_another_one_has_taken_in_between_is_left_alone(suspects: Suspects, another: Lease) -> None:
    looked(suspects, 10.0, late())
    assert looked(suspects, 12.0, another) == []


def test_a_reply_that_took_long_says_what_was_so_when_it_was_sent(suspects: Suspects) -> None:
    # Given a first look that was answered late, as Redis hung
    suspects.look([late()], 10.0, 14.0)
    # Then owners have a sweep from the answer on, and what a look says that was sent before is not enough
    assert looked(suspects, 14.5, late()) == []
    assert suspects.look([late()], 14.9, 15.5) == []
    assert looked(suspects, 15.5, late()) == ["a"]


def test_an_outage_starts_the_wait_again(suspects: Suspects) -> None:
    looked(suspects, 10.0, late())
    suspects.forget()
    assert looked(suspects, 12.0, late()) == []
    assert looked(suspects, 13.0, late()) == ["a"]


def test_what_a_calm_look_had_noted_is_taken_over_by_any_sweeper_and_straight_after_an_outage(suspects: Suspects) -> None:
    assert looked(suspects, 10.0, late("a", noted=0.9), late("b", noted=1.0), late("c", left=0.1, noted=2.0)) == ["b"]
    suspects.forget()
    assert looked(suspects, 10.2, late("a", noted=1.1), late("c", noted=2.2)) == ["a", "c"]


def test_a_look_is_calm_a_sweep_after_the_start_and_after_an_outage(suspects: Suspects) -> None:
    assert not suspects.calm(10.0)
    looked(suspects, 10.0)
    assert not suspects.calm(10.9)
    assert suspects.calm(11.0)
    suspects.forget()
    assert not suspects.calm(12.0)
    looked(suspects, 12.0)
    looked(suspects, 12.5)
    assert suspects.calm(13.0)


def test_what_was_taken_over_in_vain_comes_again_after_a_sweep_and_not_before(suspects: Suspects) -> None:
    lease = late(noted=5.0)
    assert looked(suspects, 10.0, lease) == ["a"]
    assert suspects.due == 11.0
    assert looked(suspects, 10.5, lease) == []
    assert looked(suspects, 11.0, lease) == ["a"]


def test_an_owner_that_renews_in_time_is_never_late() -> None:
    # The lease is renewed while two thirds of it are left; by default, and in the tests, a third later it is late.
    assert late_within(30.0, 10.0) == 15.0
    assert late_within(3.0, 1.0) == 1.5
    # At the shortest lease that is allowed, an owner still has half a renewal to be late by.
    assert late_within(2.0, 1.0) == 0.5
