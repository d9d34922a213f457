"""`Size` and `Measured`: what a measure is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Tell = Callable[[float], None]
"""Is told which part of a measurement is done, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    ``runs`` of a drain (times a peer's share) and of enqueueing many; ``one``: calls of enqueueing one; ``samples`` of latency;
    ``changes`` that converge on ``workers`` workers.
    """

    runs: int = 20_000
    one: int = 1_000
    samples: int = 300
    changes: int = 20
    workers: int = 4

    @classmethod
    def quick(cls) -> Size:
        """Enough to see that it works; the figures mean little."""
        return cls(runs=400, one=40, samples=20, changes=2, workers=2)


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of one measurement: figures to compare (`report.FIGURES`), and each single sample that they were made from."""

    runs: int
    figures: dict[str, float]
    samples: dict[str, list[float]] = field(default_factory=dict)


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample that ``share`` of all are not above (nearest rank), 0.5 for the median."""
    ordered = sorted(samples)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
