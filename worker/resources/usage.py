"""What processes use, by /proc. One that is gone, or that we may not look into, uses nothing."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterable
from pathlib import Path

_KIB = 1024


def fields(path: Path, wanted: Iterable[str]) -> dict[str, int]:
    """The numbers behind ``name:`` in a file of /proc; in bytes where the kernel says kB. Absent ones are left out."""
    found: dict[str, int] = {}
    names = set(wanted)
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in names:
                words = rest.split()
                found[name] = int(words[0]) * (_KIB if words[-1] == "kB" else 1)
    return found


def rough_memory(pids: Iterable[int]) -> int:
    """Bytes of memory that is backed by no file, and of swap: quick, and too much, since what processes share counts for each."""
    return sum(sum(fields(Path(f"/proc/{pid}/status"), ("RssAnon", "RssShmem", "VmSwap")).values()) for pid in pids)


def exact_memory(pids: Iterable[int]) -> int:
    """The same with shared pages counted once; takes about 1 ms for each 100 MB. `rough_memory` where the kernel does not tell."""
    total = 0
    for pid in pids:
        found = fields(Path(f"/proc/{pid}/smaps_rollup"), ("Pss_Anon", "Pss_Shmem", "SwapPss"))
        total += sum(found.values()) if found else rough_memory([pid])
    return total


def tasks(pids: Iterable[int]) -> int:
    """Processes and their threads."""
    return sum(fields(Path(f"/proc/{pid}/status"), ("Threads",)).get("Threads", 0) for pid in pids)


def data_size(pid: int) -> int:
    """Bytes that a process has mapped for itself and may write, touched or not: what RLIMIT_DATA counts."""
    return fields(Path(f"/proc/{pid}/status"), ("VmData",)).get("VmData", 0)


def limit_data(pid: int, size: int) -> int | None:
    """Set a process's soft RLIMIT_DATA, which what it starts inherits; returns what it was, None if that is not allowed."""
    try:
        soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        wanted = size if resource.RLIM_INFINITY in (hard, size) else min(size, hard)
        resource.prlimit(pid, resource.RLIMIT_DATA, (wanted, hard))
    except (OSError, ValueError):
        return None
    return soft
