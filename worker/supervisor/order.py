"""`Order`: in which order a claim looks at the queues."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from taskq.registry.errors import InvalidInput

STRATEGIES: Final = ("ordered", "round_robin", "random")
# RQ's own words (`rq worker --dequeue-strategy`) where they differ.
_RQ: Final = {"default": "ordered"}


def check_strategy(value: str) -> str:
    """One of `STRATEGIES`; RQ's words are taken as well.

    Raises:
        InvalidInput: it is none of them.
    """
    named = _RQ.get(value, value)
    if named not in STRATEGIES:
        raise InvalidInput(f"strategy {value!r} is not one of {', '.join((*STRATEGIES, *_RQ))}")
    return named


class Order:
    """The queues in the order of one claim after the other.

    ``ordered``: the most urgent first, always. ``round_robin``: each claim begins behind the queue that the one before it began with.
    ``random``: shuffled each time. A claim takes as many runs as there is room for, from the first queue that holds some.

    Args:
        queues: the most urgent first. ``strategy``: one of `STRATEGIES`.
    """

    def __init__(self, queues: Sequence[str], strategy: str = "ordered") -> None:
        self.queues, self._strategy = tuple(queues), strategy if len(queues) > 1 else "ordered"

    def next(self) -> tuple[str, ...]:
        """The queues for the next claim."""
        if self._strategy == "random":
            return tuple(random.sample(self.queues, len(self.queues)))
        now = self.queues
        if self._strategy == "round_robin":
            self.queues = now[1:] + now[:1]
        return now
