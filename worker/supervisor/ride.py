"""`Ride`: a claim that goes along with the call that records outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Ride:
    """What `Claims` offer and `Outcomes` take: both in one call (cycle.lua) where both are due at the same moment.

    Claims offer a ride while they wait for room; outcomes that leave take the claim along if there is room by then. An outcome never waits
    for a claim. A claim waits for outcomes only while every executor has something to do, and no longer than the call takes that is
    under way: then others leave, or there are none. One ride is under way at a time, and no other claim beside it.

    Attributes:
        wish: says from which queues, by their keys, how many runs would be claimed now; 0 for none. ``landed``: called when a ride has
            ended. Who claims sets both.
        urgent: says whether a claim can't wait for outcomes.
        offered: whether it may be taken now.
        expected: whether a call of outcomes is under way, behind which the next ones leave.
        under_way: whether a call is under way that claims.
        wanted: how many runs the last one was to claim.
    """

    def __init__(self) -> None:
        self.wish: Callable[[], tuple[Sequence[str], int]] = _nowhere
        self.landed: Callable[[], None] = lambda: None
        self.urgent: Callable[[], bool] = lambda: True
        self.offered = self.expected = self.under_way = False
        self.wanted = 0
        self._reply: list[Any] | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a reply to `take`."""
        return self._reply is not None

    def board(self) -> tuple[Sequence[str], int] | None:
        """Outcomes leave: what to claim with them, or None; after the former `land` must be called."""
        if not self.offered or self.under_way or self.ready:
            return None
        queues, self.wanted = self.wish()
        if self.wanted <= 0:
            return None
        self.under_way = True
        return queues, self.wanted

    def land(self, reply: list[Any] | None) -> None:
        """What the claim returned; None if the call failed."""
        self.under_way, self._reply = False, reply
        self.landed()

    def missed(self) -> None:
        """No outcome leaves for the moment."""
        self.expected = False
        if self.offered:
            self.landed()

    def take(self) -> list[Any] | None:
        """The reply of a ride, once; None if there is none."""
        reply, self._reply = self._reply, None
        return reply


def _nowhere() -> tuple[Sequence[str], int]:
    return (), 0
