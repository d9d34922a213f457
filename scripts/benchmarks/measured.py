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
    ``naps`` of 10 ms; ``changes`` that converge on ``workers`` workers; ``idle``: seconds without work before memory is read.
    ``mix``, ``plain``: seconds of a mixed load, and of a drain without swaps; ``swaps`` in ``swapping`` seconds; ``million``: runs
    in one go; ``down``: seconds without Redis.
    """

    runs: int = 20_000
    one: int = 1_000
    samples: int = 300
    naps: int = 1_000
    changes: int = 20
    workers: int = 4
    idle: float = 5.0
    mix: float = 30.0
    plain: float = 20.0
    swaps: int = 100
    swapping: float = 60.0
    million: int = 1_000_000
    down: float = 30.0

    @classmethod
    def quick(cls) -> Size:
        """Enough to see that it works; the figures mean little."""
        return cls(
            runs=400,
            one=40,
            samples=20,
            naps=50,
            changes=2,
            workers=2,
            idle=0.2,
            mix=3.0,
            plain=1.0,
            swaps=2,
            swapping=2.0,
            million=2_000,
            down=3.0,
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of one measurement.

    Args:
        runs: that it took. ``figures`` to compare (`report.figures.FIGURES`). ``samples``: each single one that they were made from.
        notes: what was found on the way, for people.
    """

    runs: int
    figures: dict[str, float]
    samples: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample that ``share`` of all are not above (nearest rank), 0.5 for the median."""
    ordered = sorted(samples)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
