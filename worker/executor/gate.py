"""Stops: when an exception from outside may strike a run, and when it must wait.

::

    between runs ── signal ──▶ remembered; looked at when the next run begins (or read by the loop anyway)
    inside a run ── signal ──▶ look: read the socket; a CANCEL for this run raises `TaskStopped` right there
    inside a run, but sending (held) ── signal ──▶ remembered; looked at when the sending is done

Where several runs are in progress (`taskq.worker.executor.together`), each is told by itself; a signal then reads the socket all the
same, so that a coroutine which keeps the loop can be struck.

Everything here happens on the main thread: Python runs signal handlers there, between two bytecodes. What makes it correct is
that each step either happens before or after one assignment: ``current`` names the run while its code may be struck,
``held`` counts the sections of our own that must not be. A signal between runs is never lost, because `guard` sets ``current`` first
and looks at ``signalled`` then.

Where an event loop runs on the main thread, the first stop cancels its asyncio tasks instead: an exception in the midst of the
loop's own code would lose wake-ups, and its clean-up could wait for ever. A repeated one strikes a coroutine that is executing,
because one that blocks never gets to see its cancellation.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import FrameType, TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

_WHY = {
    "timeout": "the run exceeded its timeout",
    "cancel": "the run was cancelled",
    "shutdown": "the worker shuts down",
}


class TaskStopped(BaseException):
    """The run was told to stop: timeout, cancel or shutdown. Not an `Exception`, so that ``except Exception`` lets it pass."""

    def __init__(self, why: str = "cancel") -> None:
        super().__init__(_WHY.get(why, why))


current_number: ContextVar[int | None] = ContextVar("taskq_number", default=None)
"""The number of the run that this code executes for, where several are in progress; None elsewhere."""


class Strand:
    """A thread that executes runs, one after the other.

    Attributes:
        thread: its identifier. ``number``: of the run whose code may be struck now, or None.
        held: how many sections of ours that must not be it is in. ``due``: it was told to stop meanwhile.
        aiming: whether the main thread is between its look at the lines above and what it does then.
    """

    __slots__ = ("aiming", "due", "held", "number", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread
        self.number: int | None = None
        self.held = 0
        self.due = False
        self.aiming = 0

    def let_aim(self) -> None:
        """After a change of ``number`` or ``held``, on the thread: what was aimed by its former value strikes here, or never.

        Raises:
            TaskStopped: it did.
        """
        while self.aiming:
            time.sleep(0)


class Gate:
    """Lets a stop through to the run in progress, at a moment that is safe.

    Used as a context manager it holds stops back on the thread that it is used on (sections may nest).
    """

    def __init__(self) -> None:
        self.current: int | None = None  # number of the run whose code may be struck now
        self.why: str | None = None  # why it was told to stop; stays set until the next run
        self.divert: Callable[[], object] | None = None  # stops an async run, in place of an exception
        self.shared = False  # runs are in progress together: a signal is looked at although there is no current one
        self.forgotten = False  # this is a child that task code forked
        self.aimed: int | None = None  # the one of these that is to be struck if it is what keeps the main thread
        self.strands: dict[int, Strand] = {}  # threads of runs, by identifier
        self.look: Callable[[], None] = _nothing  # reads the socket and calls `stop` for a CANCEL of `current`
        self._signalled = False
        self._held = 0
        self._strikes = 0  # stops that were let through to this run
        self._due = False  # a stop was read and has not been let through
        self._main = threading.get_ident()

    @property
    def number(self) -> int | None:
        """The number of the run that this code executes for, None outside of one."""
        if self.forgotten:
            return None
        number = current_number.get()
        return self.current if number is None else number

    def guard(self, number: int, body: Callable[..., T], *args: Any) -> T:
        """Call ``body`` with ``args`` as the run ``number`` and return what it returns.

        Raises:
            BaseException: whatever the body raises.
            TaskStopped: the run was told to stop; may be raised at any point of the body, also after its last line.
        """
        self.why, self.divert, self._strikes, self._due = None, None, 0, False
        try:
            try:
                self.current = number
                if self._signalled:
                    self.on_signal()
                return body(*args)
            finally:
                self.current = None
        finally:
            self.current = None  # again: a stop may have struck before the line above

    def stop(self, why: str) -> None:
        """Note that the current run shall stop; called by `look`. The first reason stays."""
        self.why = self.why or why
        self._due = True

    def on_signal(self, _signal: int = 0, frame: FrameType | None = None) -> None:
        """The handler of SIGUSR1.

        Raises:
            TaskStopped: the current run was told to stop.
        """
        self._signalled = True
        if self._held or (self.current is None and not self.shared):
            return
        self._read()
        if self._due and self.current is not None:
            self._due = False
            self._strike(frame)
        elif self.aimed is not None:
            self._strike_in_loop(frame)

    def _strike_in_loop(self, frame: FrameType | None) -> None:
        aimed, self.aimed = self.aimed, None
        loop = _running_loop()
        if loop is not None and current_number.get() == aimed and _in_coroutine(loop, frame):
            raise TaskStopped

    def _read(self) -> None:
        self._held += 1  # a signal during this only sets the flag, and we look once more
        try:
            while self._signalled:
                self._signalled = False
                self.look()
        except BaseException:
            self._signalled = True  # not looked yet: the task is at its recursion limit, or out of memory
            raise
        finally:
            self._held -= 1

    def _strike(self, frame: FrameType | None) -> None:
        self._strikes += 1
        again = self._strikes > 1
        if again and frame is not None and frame.f_code is Gate.guard.__code__:
            return  # the first one is on its way out of `guard`: a second one would escape from it
        loop = _running_loop()
        if again and loop is not None and _in_coroutine(loop, frame):
            raise TaskStopped(self.why or "")
        if self.divert is not None:
            self.divert()
        elif loop is not None:
            loop.call_soon_threadsafe(_cancel_all, loop)
        else:
            raise TaskStopped(self.why or "")

    def __enter__(self) -> None:
        thread = threading.get_ident()
        if thread == self._main:
            self._held += 1
        elif (strand := self.strands.get(thread)) is not None:
            strand.held += 1
            try:
                strand.let_aim()
            except TaskStopped:
                strand.held -= 1
                raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        thread = threading.get_ident()
        if thread != self._main:
            self._leave(self.strands.get(thread))
            return
        self._held -= 1
        if self._signalled and not self._held and (self.current is not None or self.shared):
            self.on_signal()

    def forget(self) -> None:
        """In a forked child: there are no runs."""
        self.current, self.shared, self.forgotten = None, False, True

    @staticmethod
    def _leave(strand: Strand | None) -> None:
        if strand is None:
            return
        strand.held -= 1
        if strand.due and not strand.held and strand.number is not None:
            strand.due = False
            raise TaskStopped


def _nothing() -> None:
    """Nothing to look at yet."""


def _asyncio() -> Any:
    return sys.modules["asyncio"]  # never imported here: it costs memory, and only who imported it can run a loop


def _running_loop() -> Any:
    """The event loop that runs on the main thread, the executor's or one of the task's own; None if there is none."""
    events = sys.modules.get("asyncio.events")
    running = getattr(events, "_get_running_loop", None)  # missing while the module is being imported
    return None if running is None else running()


def _in_coroutine(loop: Any, frame: FrameType | None) -> bool:
    # A task's step calls the loop too, to be continued: an exception there would be lost, and the task never continued.
    module = "" if frame is None else str(frame.f_globals.get("__name__", ""))
    return _asyncio().current_task(loop) is not None and module.partition(".")[0] != "asyncio"


def _cancel_all(loop: Any) -> None:
    for task in _asyncio().all_tasks(loop):
        task.cancel()
