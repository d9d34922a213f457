"""Control groups of version 2: one tree. Only a group without processes may hand its controllers down, so the worker moves aside first.

::

    <ours>                          hands memory, pids and cpu down
    └── taskq-<pid>-<worker>        hands them down as well
        ├── supervisor              this process, and executors as they start
        └── <pid of an executor>    from before its first limited run on
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from taskq.worker.link.descendants import descendants_of
from taskq.worker.resources.cell import GroupCell
from taskq.worker.resources.group import Group, clear_litter, folder_name

NAME = "cgroup v2"
_NEEDED = ("memory", "pids")
_PERIOD = 100_000  # microseconds
_SUPERVISOR = "supervisor"
_DELEGATED = "user.delegate"  # what systemd marks a group with that it leaves to a service


def open_v2(folder: Path | None, worker: str) -> Version2 | str:
    """The backend, or why there is none.

    Args:
        folder: this process's group. ``worker``: our name.
    """
    if folder is None:
        return "version 2 is not mounted here"
    base = Group(folder.parent if _is_delegated(folder.parent) else folder)
    try:
        offered = base.read("cgroup.controllers").split()
        missing = [name for name in _NEEDED if name not in offered]
        if missing:
            return f"version 2 has no controller for {' and '.join(missing)} here"
        if not base.writable():
            return f"version 2: {base.path} is not writable"
        strangers = set(base.processes()) - {os.getpid(), *descendants_of(os.getpid())}
        if strangers and base.has("cgroup.type"):  # the root of all groups may keep its processes, and has no type
            return f"version 2: {len(strangers)} other processes are in {base.path}, so it can't hand down its controllers"
        return Version2(base, folder_name(worker), [name for name in (*_NEEDED, "cpu") if name in offered])
    except OSError as error:
        return f"version 2: {error}"


def _is_delegated(folder: Path) -> bool:
    try:
        return os.getxattr(folder, _DELEGATED) == b"1"
    except OSError:
        return False


class Version2:
    """See `Backend`. Made by `open_v2`."""

    name = NAME

    def __init__(self, base: Group, folder: str, controllers: list[str]) -> None:
        self._base, self._root = base, base.below(folder)
        self._supervisor = self._root.below(_SUPERVISOR)
        self.enforces = tuple(controllers)
        self.lacks = "" if "cpu" in controllers else "version 2 has no controller for cpu here"
        clear_litter(base, folder)
        self._root.make()
        self._handed = [name for name in controllers if name not in base.read("cgroup.subtree_control").split()]
        try:
            self._move_aside()
            self._switch(base, "+", self._handed)
            self._switch(self._root, "+", controllers)
        except OSError:
            self.close()
            raise

    def _move_aside(self) -> None:
        if self._base.has("cgroup.type") and (processes := self._base.processes()):
            self._supervisor.make()
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):
                    self._supervisor.add(pid)

    def _switch(self, group: Group, sign: str, controllers: Sequence[str]) -> None:
        if controllers:
            group.write("cgroup.subtree_control", " ".join(sign + name for name in controllers))

    def cell(self, pid: int) -> Version2Cell:
        group = self._root.below(str(pid))
        group.make()
        group.add(pid)
        return Version2Cell(pid, group)

    def close(self) -> bool:
        """See `Backend`. Where we moved aside, we move back: our process may go on without this worker."""
        for group in self._root.groups():
            if group.path != self._supervisor.path:
                group.remove()
        with contextlib.suppress(OSError):
            self._switch(self._root, "-", self.enforces)
            self._switch(self._base, "-", self._handed)
        for pid in self._supervisor.processes():
            with contextlib.suppress(OSError):
                self._base.add(pid)
        return self._root.remove()


class Version2Cell(GroupCell):
    """See `Cell`."""

    counts = "memory.events"

    def __init__(self, pid: int, group: Group) -> None:
        super().__init__(pid, group, group)
        self._group = group

    def _limit_memory(self, size: int) -> None:
        # What is cached of files can be taken back, so it counts neither before the run nor in it. It is taken back by hand where it
        # is in the way: a limit below what is used would have the kernel kill.
        cached = self._group.field("memory.stat", "inactive_file") + self._group.field("memory.stat", "active_file")
        used = self._group.number("memory.current")
        limit = max(used - cached, 0) + size
        if used > limit:
            with contextlib.suppress(OSError):
                self._group.write("memory.reclaim", used - limit)
            limit = max(limit, self._group.number("memory.current"))
        if self._group.has("memory.swap.max"):
            self._group.write("memory.swap.max", 0)
        self._group.write("memory.max", limit)

    def _limit_cpu(self, cores: float) -> None:
        if self._group.has("cpu.max"):
            self._group.write("cpu.max", f"{round(cores * _PERIOD)} {_PERIOD}")

    def _unlimited(self) -> Iterator[tuple[Group, str, int | str]]:
        yield self._group, "memory.max", "max"
        yield self._group, "memory.swap.max", "max"
        yield self._group, "cpu.max", f"max {_PERIOD}"

    def remove(self) -> bool:
        with contextlib.suppress(OSError):
            self._group.write("cgroup.kill", 1)  # all at once; kernels before 5.14 have no such file
        self._group.kill()
        return self._group.remove()
