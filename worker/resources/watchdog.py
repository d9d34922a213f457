"""Where there are no control groups: a look at the executor and all below it, each 100 ms while a run with limits is in progress.

``memory``: what is backed by no file, and swap, above what the executor used when the run was sent. Above the limit the executor is
killed with all below it. Between two looks a run may go beyond; how far is bounded by RLIMIT_DATA, set to so much above the limit that
only what is about to be killed meets it: it counts what is mapped, not what is used, and so would be a poor limit itself.

``pids``: processes and threads; too many are killed with the executor. RLIMIT_NPROC would be no help: it counts all processes of the
user, other executors and other workers included.

``cpu``: not limited. SIGSTOP and SIGCONT in turns would be seen by whoever waits for a child, and would hold up the signals that stop a
late run; being nice is no limit.
"""

from __future__ import annotations

import asyncio
import math

from taskq.registry.model.resources import Resources
from taskq.worker.link.descendants import descendants_of, kill_below
from taskq.worker.resources import usage
from taskq.worker.resources.backend import OnBreach, out_of_memory, too_many
from taskq.worker.runs.run import Breach

NAME = "watchdog"
_LOOK = 0.1
_ROOM = 2**30  # bytes that a run may map beyond its limit, at the least


class Watchdog:
    """See `Backend`.

    Args:
        lacks: why it is this one.
    """

    name = NAME
    enforces: tuple[str, ...] = ("memory", "pids")

    def __init__(self, lacks: str) -> None:
        self.lacks = lacks

    def cell(self, pid: int) -> WatchdogCell:
        return WatchdogCell(pid)

    def close(self) -> bool:
        return True


class WatchdogCell:
    """See `Cell`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._limits = Resources()
        self._on_breach: OnBreach | None = None
        self._memory = self._rough = self._tasks = 0
        self._before: set[int] = set()
        self._data: int | None = None
        self._found: Breach | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, limits: Resources, on_breach: OnBreach) -> None:
        self._limits, self._on_breach, self._found = limits, on_breach, None
        family = self._family()
        self._before = set(family)
        self._tasks = usage.tasks(family)
        if limits.memory is not None:
            self._memory, self._rough = usage.exact_memory(family), usage.rough_memory(family)
            self._data = usage.limit_data(self._pid, usage.data_size(self._pid) + max(4 * limits.memory, limits.memory + _ROOM))
        self._arm()

    def _family(self, most: float = math.inf) -> list[int]:
        return [self._pid, *descendants_of(self._pid, most)]

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def _look(self) -> None:
        limit = self._limits.pids
        self._found = self._too_much(self._family(math.inf if limit is None else self._tasks + limit))  # more need not be counted
        if self._found is None:
            self._arm()
            return
        self._timer = None
        if self._on_breach is not None:
            self._on_breach(self._found)

    def _too_much(self, family: list[int]) -> Breach | None:
        limits = self._limits
        if limits.pids is not None and (found := usage.tasks(family) - self._tasks) > limits.pids:
            return too_many(found, limits.pids)
        if limits.memory is None or usage.rough_memory(family) - self._rough <= limits.memory:
            return None
        return out_of_memory(limits) if usage.exact_memory(family) - self._memory > limits.memory else None

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._on_breach is None:
            return
        self._on_breach = None
        if self._data is not None:
            usage.limit_data(self._pid, self._data)
            self._data = None
        kill_below(self._pid, self._before)

    def breach(self, returncode: int) -> Breach | None:
        del returncode  # it was us who killed it
        return self._found

    def remove(self) -> bool:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return True
