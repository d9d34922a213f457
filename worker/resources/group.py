"""`Group`: one control group as a folder; what both versions have in common."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Self

from taskq.worker.link.descendants import send

_PREFIX = "taskq"
_FOLDER = re.compile(rf"{_PREFIX}-(\d+)-.*")
_ROUNDS = 20


class Group:
    """A control group.

    Args:
        path: its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make it, unless it is there. Raises `OSError` where that is not allowed."""
        with contextlib.suppress(FileExistsError):
            self.path.mkdir()

    def below(self, name: str) -> Self:
        """A group in this one."""
        return type(self)(self.path / name)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).exists()

    def read(self, name: str) -> str:
        """The content of one of its files."""
        return (self.path / name).read_text()

    def write(self, name: str, value: int | str) -> None:
        """Write one of its files; the kernel says what is wrong with it by an `OSError`."""
        descriptor = os.open(self.path / name, os.O_WRONLY)
        try:
            os.write(descriptor, str(value).encode())
        finally:
            os.close(descriptor)

    def number(self, name: str) -> int:
        """A file that holds one number."""
        return int(self.read(name))

    def field(self, name: str, key: str) -> int:
        """A line ``key number`` of a file; 0 where there is none."""
        for line in self.read(name).splitlines():
            if line.startswith(f"{key} "):
                return int(line.split()[1])
        return 0

    def processes(self) -> list[int]:
        """The processes in it; empty if it is gone. Those of another pid namespace are 0 to us."""
        with contextlib.suppress(OSError):
            return [int(pid) for pid in self.read("cgroup.procs").split()]
        return []

    def add(self, pid: int) -> None:
        """Move a process with all its threads into it."""
        self.write("cgroup.procs", pid)

    def writable(self) -> bool:
        """Whether groups can be made in it, and processes moved."""
        return os.access(self.path, os.W_OK | os.X_OK) and os.access(self.path / "cgroup.procs", os.W_OK)

    def kill(self, spared: Collection[int] = ()) -> None:
        """SIGKILL to each process in it but the ``spared``, again while new ones appear. Nothing may be able to fork for ever."""
        killed: set[int] = {0, *spared}
        for _ in range(_ROUNDS):
            fresh = [pid for pid in self.processes() if pid not in killed]
            if not fresh:
                return
            for pid in fresh:
                send(pid, signal.SIGKILL)
            killed.update(fresh)

    def groups(self) -> Iterator[Self]:
        """The groups in it."""
        with contextlib.suppress(OSError):
            yield from (type(self)(path) for path in self.path.iterdir() if path.is_dir())

    def remove(self) -> bool:
        """Remove it with those in it; False while a process is in it, or not quite gone."""
        for group in self.groups():
            group.remove()
        with contextlib.suppress(OSError):
            self.path.rmdir()
        return not self.path.exists()


def folder_name(worker: str) -> str:
    """The name of a worker's group: it says which process made it, so that others know when it is litter."""
    return f"{_PREFIX}-{os.getpid()}-{worker}"


def clear_litter(base: Group, ours: str) -> None:
    """Remove what dead workers left in ``base``, and end what still runs in it: those were their runs.

    Args:
        ours: the name that our group will have; one of this name is of an earlier worker that had our process id.
    """
    for group in base.groups():
        matched = _FOLDER.fullmatch(group.path.name)
        if matched and (group.path.name == ours or not Path(f"/proc/{matched[1]}").exists()):
            for part in (group, *group.groups()):
                part.kill(spared={os.getpid()})
            group.remove()
