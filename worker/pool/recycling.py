"""`Recycling`: which executors are to be replaced by fresh ones, for what they have run or for the memory that they hold.

A replacement is started and loaded before the old executor is drained, so that no run waits for it; the old one finishes what it has
begun, hands back the rest, and exits. Seats are renewed one after the other, so that there is one executor more for a moment, not
twice as many; one that is still finishing a long run no longer counts as in a seat.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Wear:
    """When an executor is worn out.

    Attributes:
        runs: after so many; None for never. ``memory``: once it holds so many bytes (resident); None for never.
    """

    runs: int | None = None
    memory: int | None = None

    @property
    def watched(self) -> bool:
        """Whether there is anything to look for."""
        return self.runs is not None or self.memory is not None

    def of(self, pid: int, ended: int) -> str | None:
        """Why the executor ``pid``, in which ``ended`` runs have ended, is worn out; None if it is not.

        One that has run nothing is never worn out by its memory: a fresh one would hold as much.
        """
        if self.runs is not None and ended >= self.runs:
            return f"{ended} runs"
        if self.memory is not None and ended and (held := resident(pid)) > self.memory:
            return f"{held / 2**20:.0f} MiB"
        return None


def resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0
