"""What the figures depend on: the machine, the versions, and what else goes on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import psutil

_FSYNCS = 30


def facts(folder: Path) -> dict[str, Any]:
    """The machine, and how long an fsync takes in ``folder``."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "filesystem": _filesystem(folder),
        "fsync_ms": round(fsync_seconds(folder) * 1000, 3),
    }


def versions(peers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Of Python, of the peers' distributions, and this tree's commit.

    Args:
        peers: distribution → version, of each peer.
    """
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for each in peers:
        found |= each
    return found | {"commit": _commit()}


def busy(seconds: float) -> dict[str, float]:
    """How busy the machine is while we do nothing.

    Args:
        seconds: how long to look.
    """
    before = psutil.cpu_times()
    share = psutil.cpu_percent(interval=seconds)
    stolen = psutil.cpu_times().steal - before.steal
    return {
        "cpu_percent": share,
        "stolen_percent": round(100 * stolen / seconds / (os.cpu_count() or 1), 1),
        "load_1min": os.getloadavg()[0],
    }


def fsync_seconds(folder: Path) -> float:
    """The median time of a small append with fsync."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_FSYNCS):
            began = time.perf_counter()
            file.write(b"x" * 512)
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return median(taken)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"


def _filesystem(folder: Path) -> str:
    """Type of the filesystem that holds ``folder``: the mount with the longest matching path."""
    place = folder.resolve()
    mounts = [mount for mount in psutil.disk_partitions(all=True) if place.is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def command_line() -> str:
    """How the benchmark was called."""
    return " ".join(["scripts/bench", *sys.argv[1:]])
