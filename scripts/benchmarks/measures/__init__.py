"""What is measured, each one module with a function ``measure(peer, size, tell)``.

`MEASURES` says for each where its function is, which setup of a peer's worker it wants, whether it reads results, whether it is
taskq's alone, and whether it belongs to a run that names none: what takes minutes or shakes the server does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.measured import Measured, Size, Tell
from benchmarks.peers.peer import Peer, Setup


class Kind(NamedTuple):
    """A row of `MEASURES`."""

    place: str
    setup: Setup = "default"
    reads: bool = False
    ours: bool = False
    usual: bool = True


MEASURES = {
    "drain": Kind("drain:measure"),
    "enqueue": Kind("enqueue:measure"),
    "latency": Kind("latency:measure", reads=True),
    "idle": Kind("idle:measure"),
    "threads": Kind("slots:threads", setup="threads", reads=True),
    "async": Kind("slots:coroutines", setup="async", reads=True),
    "convergence": Kind("convergence:measure", ours=True),
    "mix": Kind("mix:measure", ours=True, usual=False),
    "swaps": Kind("swaps:registered", ours=True, usual=False),
    "promotes": Kind("swaps:promoted", ours=True, usual=False),
    "million": Kind("million:measure", ours=True, usual=False),
    "outage": Kind("outage:measure", ours=True, usual=False),
}
USUAL = tuple(name for name, kind in MEASURES.items() if kind.usual)


def fits(measure: str, name: str, peer: type[Peer]) -> bool:
    """Whether a peer takes part in a measure."""
    kind = MEASURES[measure]
    if kind.ours and name != "taskq":
        return False
    if peer.measures is not None and measure not in peer.measures:
        return False
    return kind.setup in peer.setups and (peer.stores or not kind.reads)


def find(measure: str) -> Callable[[Peer, Size, Tell], Measured]:
    """Its function."""
    module, _, name = MEASURES[measure].place.partition(":")
    found: Callable[[Peer, Size, Tell], Measured] = getattr(importlib.import_module(f"benchmarks.measures.{module}"), name)
    return found
