"""`Retry`: how often and how soon a failed run is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from taskq.registry.authoring.duration import Duration


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy.

    Args:
        max: how many further attempts after the first; 0 for none.
        backoff: how the delay grows from attempt to attempt.
        delay: the first delay.
        max_delay: the longest delay.
        jitter: share of the delay that is random, 0 to 1.
        on: names of the exceptions to retry; empty for all.
        not_on: names of the exceptions never to retry.
    """

    max: int = 0
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    delay: Duration = 1.0
    max_delay: Duration = 300.0
    jitter: float = 0.1
    on: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()

    def options(self) -> dict[str, Any]:
        """The policy as a plain mapping, as the spec stores it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
