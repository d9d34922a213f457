"""Memory of processes, as the kernel says."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from benchmarks.errors import BenchError
from benchmarks.processes import descendants

_MIB = 1 << 20


def pss_mib(pid: int) -> list[float]:
    """Proportional set size of a process and of each one below it, in MiB.

    Pages that several processes map count in parts; the bench itself maps the same Python, as any other program beside a worker does.

    Raises:
        BenchError: the kernel does not tell.
    """
    parts = []
    for process in [psutil.Process(pid), *descendants(pid)]:
        try:
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        except ProcessLookupError:
            continue
        except OSError as error:
            raise BenchError(f"the memory of process {process.pid} can't be read: {error}") from error
        parts += [int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")]
    return parts


def rss_mib(pid: int) -> float:
    """Resident set size of a process and of all below it together, in MiB."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in [psutil.Process(pid), *descendants(pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total / _MIB
