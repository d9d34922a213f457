"""Which process dies where: a schedule of faults that follows from a seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from taskq.registry.runtime.faults import POINTS

Kind = Literal["worker", "executor", "scheduler", "client", "registrar", "server"]
KINDS: tuple[Kind, ...] = get_args(Kind)

OUTSIDE = "outside"
"""Killed from outside, wherever it is."""

# Where each kind of process can be made to die.
PLACES: dict[Kind, tuple[str, ...]] = {
    "worker": (*(point for point in POINTS if point.startswith("worker.")), OUTSIDE),
    "executor": ("executor.running", "executor.ended", OUTSIDE),
    "scheduler": (*(point for point in POINTS if point.startswith("scheduler.")), OUTSIDE),
    "client": tuple(point for point in POINTS if point.startswith("client.")),
    "registrar": tuple(point for point in POINTS if point.startswith("registry.")),
    "server": (OUTSIDE,),
}
# How often each kind dies, relative to the others, once every place had its turn.
_WEIGHTS: dict[Kind, int] = {"worker": 10, "executor": 6, "scheduler": 4, "client": 2, "registrar": 2, "server": 1}
# The how manieth time that a point is reached, at most; what is reached rarely dies early.
_NTH = {"worker.sweeping": 1, "worker.swept": 1, "worker.fetched": 2, "registry.staged": 1, "registry.stored": 1, "registry.committed": 2}
_MOST = 12


@dataclass(frozen=True, slots=True)
class Fault:
    """One death: of a process of this kind, the ``nth`` time that it comes to ``place``."""

    kind: Kind
    place: str
    nth: int

    def __str__(self) -> str:
        return f"{self.kind} at {self.place} #{self.nth}"


def faults(seed: int) -> Iterator[Fault]:
    """Faults without end: first each place of each kind once, in random order, then by weight. The same seed gives the same ones."""
    dice = random.Random(seed)
    first = [(kind, place) for kind in KINDS for place in PLACES[kind]]
    dice.shuffle(first)
    for kind, place in first:
        yield _fault(dice, kind, place)
    while True:
        (kind,) = dice.choices(KINDS, [_WEIGHTS[kind] for kind in KINDS])
        yield _fault(dice, kind, dice.choice(PLACES[kind]))


def schedule(seed: int, count: int) -> dict[Kind, list[Fault]]:
    """The first ``count`` faults of a seed, by the kind of process that they befall; each kind's are in order."""
    found: dict[Kind, list[Fault]] = {kind: [] for kind in KINDS}
    for _, fault in zip(range(count), faults(seed), strict=False):
        found[fault.kind].append(fault)
    return found


def _fault(dice: random.Random, kind: Kind, place: str) -> Fault:
    return Fault(kind, place, dice.randint(1, _NTH.get(place, _MOST)))
