"""Clean up a directory of rotated access logs, by age and by size.

The live log is never touched. Its rotations are removed, oldest first, until both limits hold: none is older than
``keep_days``, and together they take no more than ``keep_bytes``. Recognised are numbered and dated rotations, plain or
compressed::

    access.log                      live
    access.log.1  access.log.2.gz   numbered
    access.log-20261101.gz  access.log.2026-11-01  access-2026-11-01.log.xz     dated

Anything else in the directory, and each symbolic link, is left alone. The task is idempotent: a second run finds nothing
to do. It runs each night at 03:00 UTC. Try it::

    python examples/make_data.py                       # writes var/logs, among others
    taskq register examples/clean_logs.py
    taskq run clean_logs dry_run=true --wait           # says what it would remove
    taskq run clean_logs folder=/var/log/nginx keep_days=30 keep_bytes=500000000 --wait

``taskq logs RUN`` shows a line for each file removed. A relative ``folder`` is relative to the worker's working folder.
"""

from __future__ import annotations

import re
import stat
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from taskq import task

DAY = 86_400.0
_DATE = r"(?P<date>\d{4}-?\d{2}-?\d{2})(?:[T_.-]?\d{2,6})?"
_PACKED = r"(?P<packed>\.(?:gz|bz2|xz|zst))?"
_ROTATED = (
    re.compile(rf"(?P<live>.+\.log)[.-]{_DATE}{_PACKED}"),
    re.compile(rf"(?P<live>.+\.log)\.(?P<number>\d{{1,4}}){_PACKED}"),
    re.compile(rf"(?P<stem>.+?)[._-]{_DATE}\.log{_PACKED}"),
)


@dataclass(frozen=True, slots=True)
class Rotated:
    """One rotated log. ``family`` is the name of the live log that it was; ``at`` when it ended, in seconds since the epoch."""

    path: Path
    family: str
    number: int
    at: float
    size: int
    identity: tuple[int, int]
    packed: bool


@task(cron="0 3 * * *", timeout="10m", idempotent=True, labels={"example": "files"})
def clean_logs(folder: str = "var/logs", keep_days: float = 14, keep_bytes: int = 500_000, dry_run: bool = False) -> dict[str, Any]:
    """Remove rotated logs of ``folder``, oldest first, until none is older than ``keep_days`` and all take at most ``keep_bytes``.

    Args:
        folder: the directory; its sub-directories are not entered.
        keep_days: how old a rotated log may get, in days.
        keep_bytes: how much all rotated logs may take together; the live logs don't count.
        dry_run: only say what would be removed.

    Returns:
        Counts of what was found, removed and kept, and the bytes freed.

    Raises:
        FileNotFoundError: there is no such directory.
        OSError: some files could not be removed; all others were.
    """
    place = Path(folder)
    if keep_days < 0 or keep_bytes < 0:
        raise ValueError(f"keep_days ({keep_days}) and keep_bytes ({keep_bytes}) must not be negative")
    if not place.is_dir():
        raise FileNotFoundError(f"there is no directory {place.absolute()}; give folder=/an/absolute/path, or run examples/make_data.py")
    rotated = without_live(find_rotated(place), place)
    now = time.time()
    doomed = choose(rotated, now=now, keep_seconds=keep_days * DAY, keep_bytes=keep_bytes)
    removed = doomed if dry_run else [log for log in doomed if remove(log)]
    for log in removed:
        print(f"{'would remove' if dry_run else 'removed'} {log.path.name}: {log.size:,} bytes, {(now - log.at) / DAY:.1f} days old")
    left = [log for log in rotated if log not in set(removed)]
    return {
        "folder": str(place.absolute()),
        "dry_run": dry_run,
        "found": len(rotated),
        "removed": len(removed),
        "freed_bytes": sum(log.size for log in removed),
        "kept": len(left),
        "kept_bytes": sum(log.size for log in left),
    }


def find_rotated(folder: Path) -> list[Rotated]:
    """The rotated logs of a directory, oldest first."""
    found = []
    for path in folder.iterdir():
        match = next((m for pattern in _ROTATED if (m := pattern.fullmatch(path.name))), None)
        if not match:
            continue
        try:
            state = path.lstat()
        except FileNotFoundError:  # rotated away since the directory was listed
            continue
        if not stat.S_ISREG(state.st_mode):
            continue
        parts = match.groupdict()
        family = parts.get("live") or f"{parts['stem']}.log"
        at = day_end(parts.get("date")) or state.st_mtime
        identity = (state.st_dev, state.st_ino)
        found.append(Rotated(path, family, int(parts.get("number") or 0), at, state.st_size, identity, bool(parts["packed"])))
    return sorted(found, key=lambda log: (log.at, -log.number, log.path.name))  # of one age: the higher number is the older


def without_live(rotated: list[Rotated], folder: Path) -> list[Rotated]:
    """Leave out the newest dated log of each family without a ``name.log``: where a server writes to dated names, it is the live one."""
    dated = [log for log in rotated if not (log.number or log.packed)]
    newest = {log.family: log for log in dated if not (folder / log.family).exists()}
    return [log for log in rotated if newest.get(log.family) is not log]


def day_end(date: str | None) -> float | None:
    """The end of the day that a name tells, or None where it tells none (or nonsense like 20261399)."""
    if not date:
        return None
    try:
        return datetime.strptime(date.replace("-", ""), "%Y%m%d").astimezone().timestamp() + DAY
    except ValueError:
        return None


def choose(rotated: list[Rotated], *, now: float, keep_seconds: float, keep_bytes: int) -> list[Rotated]:
    """Which logs have to go, oldest first; ``rotated`` is sorted by age."""
    total = sum(log.size for log in rotated)
    doomed = []
    for log in rotated:
        if now - log.at <= keep_seconds and total <= keep_bytes:
            break
        doomed.append(log)
        total -= log.size
    return doomed


def remove(log: Rotated) -> bool:
    """Remove one file, if it is still the one that was looked at: a rotation in between gives its name to a younger log."""
    try:
        state = log.path.lstat()
        if (state.st_dev, state.st_ino) != log.identity:
            return False
        log.path.unlink()
    except FileNotFoundError:
        return False
    return True
