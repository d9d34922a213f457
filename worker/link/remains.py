"""What a supervisor that was killed has left behind on this machine: processes that its runs had started.

Executors die with their supervisor. What they had started does not, where nothing above them adopts orphans (`taskq up` does, and a
container ends as a whole). So each executor has a mark of its supervisor in its environment, which all that it starts inherits, and a
worker looks for marks whose supervisor is dead: when it starts, and when it takes over runs. A process that drops its environment is
not found.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from taskq.worker.link.descendants import kill_tree

# Not TASKQ_…: no such variable reaches task code.
MARK: Final = "_TASKQ_SUPERVISOR"
_FIELD: Final = f"{MARK}=".encode()
_PROC: Final = Path("/proc")
# Fields of /proc/<pid>/stat behind the name of the program: its parent, its start in ticks since boot.
_PARENT, _START = 1, 19


def own_mark() -> str:
    """The mark of this process: no other process of this machine ever has it, until the machine is started again."""
    return f"{os.getpid()}:{_stat(os.getpid(), _START)}"


def end_remains() -> list[int]:
    """SIGKILL all that descends from executors of supervisors that are dead; returns whom.

    Only processes of this user in this pid namespace: in another one, the numbers of supervisors mean other processes.
    """
    space, spared = _namespace(os.getpid()), _ancestors(os.getpid())
    ended = []
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal() or int(entry.name) in spared:
            continue
        pid = int(entry.name)
        mark = _mark_of(entry)
        if mark is not None and space is not None and _namespace(pid) == space and _is_dead(mark):
            kill_tree(pid)
            ended.append(pid)
    return ended


def _mark_of(entry: Path) -> str | None:
    try:
        if entry.stat().st_uid != os.geteuid():
            return None
        found = [field for field in (entry / "environ").read_bytes().split(b"\0") if field.startswith(_FIELD)]
    except OSError:
        return None
    return found[0].removeprefix(_FIELD).decode(errors="replace") if found else None


def _is_dead(mark: str) -> bool:
    """Whether the supervisor of a mark is gone for sure; what can't be told counts as alive."""
    pid, _, start = mark.partition(":")
    if not pid.isdecimal() or not start.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    now = _stat(int(pid), _START)
    return now is not None and now != start


def _ancestors(pid: int) -> set[int]:
    found = {pid}
    while (parent := _stat(pid, _PARENT)) is not None and (pid := int(parent)) > 0:
        found.add(pid)
    return found


def _stat(pid: int, field: int) -> str | None:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[field]
    except (OSError, IndexError):
        return None


def _namespace(pid: int) -> str | None:
    try:
        return str((_PROC / str(pid) / "ns" / "pid").readlink())
    except OSError:
        return None
