"""`Threads`: runs of tasks with ``threads=N``. Imported with the first of them."""

from __future__ import annotations

import ctypes
import queue
import signal
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any

from taskq.worker.executor.gate import Gate, Strand, TaskStopped, current_number
from taskq.worker.executor.running import Started, raised
from taskq.worker.executor.together.members import Member
from taskq.worker.link.protocol import Report


class Threads:
    """Threads that execute runs; as many as were ever needed at once, and they stay.

    Args:
        gate: knows the threads' strands. ``ended``: given each run that has ended, and how, on its thread.
    """

    def __init__(self, gate: Gate, ended: Callable[[Member, Report], None]) -> None:
        self._gate, self._ended = gate, ended
        self._queue: queue.SimpleQueue[Member] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)
        self._count = 0

    def begin(self, member: Member) -> None:
        """A run begins on a thread that is free, or on a new one."""
        self._queue.put(member)
        if not self._free.acquire(blocking=False):
            self._count += 1
            threading.Thread(target=self._serve, name=f"taskq-run-{self._count}", daemon=True).start()

    def stop(self, member: Member) -> None:
        """Raise in its code, now or when it leaves code of ours. Called on the main thread."""
        strand = member.strand
        if strand is None:
            return  # it has not begun, and looks when it does; or it has ended
        strand.aiming += 1  # the thread may get its turn between any two lines here: it waits for the last one
        try:
            if strand.number != member.number:
                return
            if strand.held:
                strand.due = True
            else:
                _raise_in(strand.thread, TaskStopped)
        finally:
            strand.aiming -= 1

    def _serve(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # the main thread must be interrupted, not this one
        strand = self._gate.strands[threading.get_ident()] = Strand(threading.get_ident())
        while True:
            member = self._queue.get()
            self._work(strand, member)
            del member

    def _work(self, strand: Strand, member: Member) -> None:
        started: Started | None = None
        report: Report | None = None
        while True:
            try:
                if report is None:
                    started = started or Started(member.order, member.loaded)
                    report = Context().run(_execute, strand, member, started)
                strand.number, strand.due = None, False
                strand.let_aim()
                _raise_in(strand.thread, None)
                break
            except TaskStopped as error:  # it struck on the way out
                report = report or raised(error)
        member.strand = None
        self._free.release()  # before anybody hears of the end: the next run must not ask for a thread more
        self._ended(member, started.close(report, member.why) if started is not None else report)


def _execute(strand: Strand, member: Member, started: Started) -> Report:
    current_number.set(member.number)
    try:
        member.strand = strand
        strand.number = member.number  # from here on it may be struck
        if member.why is not None:
            raise TaskStopped(member.why)
        return started.succeeded(started.call())
    except BaseException as error:  # noqa: BLE001  # whatever task code raises, SystemExit and a stop too, is the run's outcome
        return raised(error)


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Have a thread raise at its next bytecode; None takes back what is pending."""
    api: Any = ctypes.pythonapi
    api.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind) if kind is not None else None)
