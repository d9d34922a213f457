"""`Backoff`: growing, jittered delays."""

from __future__ import annotations

import random


class Backoff:
    """Delays that double from ``base`` to ``cap`` seconds, each drawn between half of it and all of it.

    The jitter keeps many workers from coming back in step.
    """

    def __init__(self, base: float, cap: float) -> None:
        self.base, self.cap = base, cap
        self.failures = 0

    def next(self) -> float:
        """The delay in seconds after one more failure."""
        delay = min(self.cap, self.base * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return delay * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, no secret

    def reset(self) -> None:
        """It worked: the next failure starts from ``base`` again."""
        self.failures = 0
