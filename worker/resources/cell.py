"""`GroupCell`: the place of one executor in control groups: what both versions do alike, whatever their files are called."""

from __future__ import annotations

import contextlib
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from taskq.registry.model.resources import Resources
from taskq.worker.resources.backend import OnBreach, out_of_memory
from taskq.worker.resources.group import Group
from taskq.worker.runs.run import Breach


class GroupCell(ABC):
    """See `Cell`. A subclass knows how its version is told of limits, and how its groups are removed.

    Args:
        pid: of the executor. ``memory``, ``pids``: the groups that limit them; in version 2 they are one.

    Attributes:
        counts: the file of ``memory`` that says how many processes the kernel has killed for it.
    """

    counts: ClassVar[str]

    def __init__(self, pid: int, memory: Group, pids: Group) -> None:
        self._pid, self._memory, self._pids = pid, memory, pids
        self._limits = Resources()
        self._before: set[int] = set()
        self._kills = 0

    def begin(self, limits: Resources, on_breach: OnBreach) -> None:
        del on_breach  # the kernel holds all of them
        self._limits = limits
        self._before = {self._pid, *self._pids.processes()}
        self._kills = self._oom_kills()
        if limits.memory is not None:
            self._limit_memory(limits.memory)
        if limits.pids is not None:
            self._pids.write("pids.max", self._pids.number("pids.current") + limits.pids)
        if limits.cpu is not None:
            self._limit_cpu(limits.cpu)

    @abstractmethod
    def _limit_memory(self, size: int) -> None:
        """So many bytes beyond what is used now."""

    @abstractmethod
    def _limit_cpu(self, cores: float) -> None:
        """Does nothing where there is no controller for it."""

    @abstractmethod
    def _unlimited(self) -> Iterable[tuple[Group, str, int | str]]:
        """What to write where to have no limits of memory and cpu, in this order."""

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._pids.write("pids.max", 0)  # nothing that is to be killed forks any more
        self._pids.kill(spared=self._before)
        for group, name, value in (*self._unlimited(), (self._pids, "pids.max", "max")):
            with contextlib.suppress(OSError):  # not every kernel has each of them
                group.write(name, value)

    def breach(self, returncode: int) -> Breach | None:
        if self._limits.memory is None or returncode != -signal.SIGKILL or self._oom_kills() <= self._kills:
            return None
        return out_of_memory(self._limits)

    def _oom_kills(self) -> int:
        try:
            return self._memory.field(self.counts, "oom_kill")
        except OSError:
            return 0
