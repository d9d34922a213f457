"""Control groups of version 1: a hierarchy for memory, one for pids, one for cpu, and a group of the same name in each."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Mapping
from pathlib import Path

from taskq.worker.resources.cell import GroupCell
from taskq.worker.resources.group import Group, clear_litter, folder_name

NAME = "cgroup v1"
_NEEDED = ("memory", "pids")
_PERIOD = 100_000  # microseconds
_SWAPPED = "memory.memsw."


def open_v1(folders: Mapping[str, Path], worker: str) -> Version1 | str:
    """The backend, or why there is none.

    Args:
        folders: this process's group in each hierarchy. ``worker``: our name.
    """
    bases = {name: Group(folders[name]) for name in (*_NEEDED, "cpu") if name in folders}
    missing = [name for name in _NEEDED if name not in bases]
    if missing:
        return f"version 1 has no controller for {' and '.join(missing)} here"
    shut = [str(base.path) for base in bases.values() if not base.writable()]
    if shut:
        return f"version 1: {shut[0]} is not writable"
    try:
        return Version1(bases, folder_name(worker))
    except OSError as error:
        return f"version 1: {error}"


class Version1:
    """See `Backend`. Made by `open_v1`. Its groups are there from the first cell on; until then it leaves no trace."""

    name = NAME

    def __init__(self, bases: Mapping[str, Group], folder: str) -> None:
        for base in bases.values():
            clear_litter(base, folder)
        self._roots = {name: base.below(folder) for name, base in bases.items()}
        self.enforces = tuple(bases)
        self.lacks = "" if "cpu" in bases else "version 1 has no controller for cpu here"
        try:
            self._make_roots()  # so that it is known now whether that works
        finally:
            self.close()

    def _make_roots(self) -> None:
        for root in self._roots.values():
            root.make()

    def cell(self, pid: int) -> Version1Cell:
        self._make_roots()
        groups = {name: root.below(str(pid)) for name, root in self._roots.items()}
        for group in groups.values():
            group.make()
            group.add(pid)
        return Version1Cell(pid, groups)

    def close(self) -> bool:
        removed = [root.remove() for root in self._roots.values()]  # each of them, also after one that could not be
        return all(removed)


class Version1Cell(GroupCell):
    """See `Cell`."""

    counts = "memory.oom_control"

    def __init__(self, pid: int, groups: Mapping[str, Group]) -> None:
        super().__init__(pid, groups["memory"], groups["pids"])
        self._groups = groups

    def _limit_memory(self, size: int) -> None:
        # What is cached of files can be taken back, so it counts neither before the run nor in it.
        cached = self._memory.field("memory.stat", "total_inactive_file") + self._memory.field("memory.stat", "total_active_file")
        kinds = ["memory."] + ([_SWAPPED] if self._memory.has(f"{_SWAPPED}limit_in_bytes") else [])
        for kind in kinds:  # that with swap can't be the lower one
            used = self._memory.number(f"{kind}usage_in_bytes")
            try:
                self._memory.write(f"{kind}limit_in_bytes", max(used - cached, 0) + size)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                self._memory.write(f"{kind}limit_in_bytes", used + size)  # the cache could not be taken back so far

    def _limit_cpu(self, cores: float) -> None:
        group = self._groups.get("cpu")
        if group is None:
            return
        group.write("cpu.cfs_period_us", _PERIOD)
        try:
            group.write("cpu.cfs_quota_us", round(cores * _PERIOD))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise  # EINVAL: a group above us has less, and that holds

    def _unlimited(self) -> Iterator[tuple[Group, str, int | str]]:
        yield self._memory, f"{_SWAPPED}limit_in_bytes", -1  # first, since that without swap can't be the higher one
        yield self._memory, "memory.limit_in_bytes", -1
        if "cpu" in self._groups:
            yield self._groups["cpu"], "cpu.cfs_quota_us", -1

    def remove(self) -> bool:
        with contextlib.suppress(OSError):
            self._pids.write("pids.max", 0)
        self._pids.kill()
        removed = [group.remove() for group in self._groups.values()]
        return all(removed)
