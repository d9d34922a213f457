"""Memory of the whole machine: whom the kernel kills when it runs out, and whether it did."""

from __future__ import annotations

import contextlib
from pathlib import Path

_STEP = 500
_MOST = 1000


def offer(pid: int) -> None:
    """Have the kernel kill this executor, and what it starts, before its supervisor and the rest of the machine.

    A run without limits that takes all memory there is ends as one lost attempt of that run, not with the worker. To raise the score
    needs no privilege; where /proc does not let us, it stays.
    """
    path = Path(f"/proc/{pid}/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):
        path.write_text(str(min(_MOST, int(path.read_text()) + _STEP)))


def kills() -> int:
    """How many processes the kernel killed for want of memory since the machine started; 0 where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
