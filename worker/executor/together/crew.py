"""`Crew`: all runs that are in progress together, wherever they are."""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from taskq.worker.executor.gate import Gate
from taskq.worker.executor.together.members import Member
from taskq.worker.executor.versions import Loaded
from taskq.worker.link.lanes import ASYNC, Lanes
from taskq.worker.link.protocol import Report

_HERE = __package__


class Crew:
    """Begins, stops and ends runs; waits for what happens to them.

    Args:
        sock: becomes readable when there are messages. ``gate``: is told while there are runs.
        readable: reads them. ``step``: begins what may begin, on the loop; has it `pause` for what may not begin there.
        report: given the number of each run that has ended and how, on the thread that it was on.

    Attributes:
        lanes: what is in progress.
    """

    def __init__(
        self,
        sock: socket.socket,
        gate: Gate,
        *,
        readable: Callable[[], None],
        step: Callable[[], None],
        report: Callable[[int, Report], None],
    ) -> None:
        self._socket, self._gate, self._readable, self._step, self._report = sock, gate, readable, step, report
        self.lanes = Lanes()
        self._members: dict[int, Member] = {}
        self._over: deque[Member] = deque()
        self._bell = -1
        self._sockets = select.poll()  # not select.select: an executor may have thousands of descriptors
        self._sockets.register(sock, select.POLLIN)
        self._poll = select.poll()
        self._rung = False
        self._tasks: Any = None
        self._threads: Any = None
        self._looping = False

    def __len__(self) -> int:
        return self.lanes.total

    def __contains__(self, number: int) -> bool:
        return number in self._members

    def begin(self, number: int, order: Sequence[Any], loaded: Loaded) -> None:
        """A run begins, for which `lanes` had room."""
        if self._bell < 0:
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            for descriptor in (self._socket.fileno(), self._bell):
                self._poll.register(descriptor, select.POLLIN)
        member = self._members[number] = Member(number, order, loaded)
        self.lanes.enter(loaded.lane)
        self._gate.shared = True
        if loaded.lane.name == ASYNC:
            if self._tasks is None:
                tasks = importlib.import_module(f"{_HERE}.tasks").Tasks
                self._tasks = tasks(self._socket, self._bell, readable=self._readable, step=self._step, ended=self._ended)
            self._tasks.begin(member)
        else:
            if self._threads is None:
                self._threads = importlib.import_module(f"{_HERE}.threads").Threads(self._gate, self._ended_on_thread)
            self._threads.begin(member)

    def stop(self, number: int, why: str) -> bool:
        """Tell a run to stop; returns whether it is to be struck where it is: it keeps the loop, and was told before."""
        member = self._members[number]
        member.why = member.why or why
        member.strikes += 1
        if member.task is None:
            self._threads.stop(member)
            return False
        self._tasks.cancel(member)
        return member.strikes > 1

    # -- ends ----------------------------------------------------------------------------------------------
    def _ended(self, member: Member, report: Report) -> None:
        self._report(member.number, report)
        self._leave(member)

    def _ended_on_thread(self, member: Member, report: Report) -> None:
        self._report(member.number, report)
        self._over.append(member)
        self.ring()

    def _leave(self, member: Member) -> None:
        del self._members[member.number]
        self.lanes.leave(member.loaded.lane)
        self._gate.shared = self.lanes.total > 0

    def settle(self) -> None:
        """Take note of runs that have ended on their threads."""
        if self._rung:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)
            self._rung = False  # only now: whoever found it rung, and so did not ring, has left before what is looked at below
        while self._over:
            self._leave(self._over.popleft())

    # -- waiting -------------------------------------------------------------------------------------------
    def ring(self) -> None:
        """Have the main thread look: a run has ended, or the signal handler has read messages."""
        if self._bell >= 0 and not self._rung:
            self._rung = True
            os.eventfd_write(self._bell, 1)

    def wait(self) -> bool:
        """Wait until there is something to do; returns whether it is messages to be read."""
        if self.lanes.count(ASYNC):
            self._looping = True
            try:
                self._tasks.work()
            finally:
                self._looping = False
            return False
        if not self._over:
            self._poll.poll()
        return bool(self._sockets.poll(0))

    def pause(self) -> None:
        """Have the loop return from `wait`."""
        if self._looping:
            self._tasks.pause()
