"""How long to wait before the next attempt: longer each time, and never the same for two processes."""

from __future__ import annotations

import random


def pause(attempt: int, *, base: float = 0.1, cap: float = 5.0) -> float:
    """Seconds to wait before an attempt: random up to a limit that doubles from ``base`` to ``cap``, at least ``base / 2``.

    Args:
        attempt: how many have failed before, from 0.
        base: limit of the first pause in seconds. ``cap``: the highest limit.
    """
    limit = min(cap, base * 2.0 ** min(attempt, 30))
    return random.uniform(base / 2, limit)  # noqa: S311  # spreads processes in time, guards nothing


class Backoff:
    """The pauses of one loop that tries again and again: see `pause` for ``base`` and ``cap``, in seconds."""

    def __init__(self, base: float = 0.1, cap: float = 5.0) -> None:
        self.base, self.cap = base, cap
        self.failures = 0

    def next(self) -> float:
        """The pause in seconds after one more failure."""
        self.failures += 1
        return pause(self.failures - 1, base=self.base, cap=self.cap)

    def reset(self) -> None:
        """It worked: the next failure starts from ``base`` again."""
        self.failures = 0
