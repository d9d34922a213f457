"""One run in this process: the executor's `execute`, and around it what an executor's process is for a run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO, cast

from taskq.registry import clock
from taskq.testing.clock import Time
from taskq.worker.executor import coroutines, running
from taskq.worker.executor.gate import Gate
from taskq.worker.executor.output import Capture, RunHandler, RunLog
from taskq.worker.executor.versions import Loaded
from taskq.worker.link.protocol import Kind, Order

_NUMBER: Final = 1
# How often a run that does not stop is told again, in seconds; as `taskq.worker.pool.deadlines` does.
_REPEAT: Final = 1.0
# Frames in these folders say nothing to the author of a task.
_MACHINERY: Final = tuple(f"{Path(file).resolve().parent}{os.sep}" for file in (__file__, str(running.__file__), asyncio.__file__))
_DEBUGGERS: Final = ("bdb", "pdb", "pydevd", "_pydevd")


@dataclass(slots=True)
class Executed:
    """What came of it: the executor's report, the lines of the run's log, and what its code raised."""

    report: dict[str, Any] = field(default_factory=dict)
    lines: list[list[Any]] = field(default_factory=list)
    error: BaseException | None = None

    def post(self, kind: Kind, number: int, body: dict[str, Any]) -> None:
        """Take what an executor would send: lines of the log."""
        del kind, number
        self.lines += body["lines"]

    def flush(self) -> None:
        """Nothing waits here."""

    def raised(self, error: BaseException) -> None:
        """Take what the task's code raised."""
        self.error = error


def perform(order: Order, loaded: Loaded, time: Time, *, late: bool = False) -> Executed:
    """Execute a run to its end.

    Args:
        order: what its RUN message says. ``loaded``: the version.
        time: of the fleet. ``late``: whether its timeout strikes before the first line of its code.
    """
    if not _loop_runs():
        return _perform(order, loaded, time, late=late)
    # Its code may want a loop of its own, and may block: neither is possible on a thread whose loop is running.
    answer: Future[Executed] = Future()
    context = copy_context()
    work = partial(context.run, _perform_apart, answer, order, loaded, time, late=late)
    thread = threading.Thread(target=work, name="taskq-run", daemon=True)
    thread.start()
    thread.join()
    return answer.result()


def _perform_apart(answer: Future[Executed], order: Order, loaded: Loaded, time: Time, *, late: bool) -> None:
    try:
        answer.set_result(_perform(order, loaded, time, late=late))
    except BaseException as error:  # noqa: BLE001  # raised again by who waits for the answer
        answer.set_exception(error)
    finally:
        coroutines.close()


def aside(time: Time) -> contextlib.AbstractContextManager[None]:
    """Leave the run that is in progress, if there is one: what it has executed meanwhile is none of its own code."""
    return time.watchers[-1].aside() if time.watchers else contextlib.nullcontext()


def from_task(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the first frame of the task's own code on."""
    at = trace
    while at is not None and str(Path(at.tb_frame.f_code.co_filename).resolve()).startswith(_MACHINERY):
        at = at.tb_next
    return at or trace


def close() -> None:
    """Close the loop of async tasks on this thread."""
    coroutines.close()


def _perform(order: Order, loaded: Loaded, time: Time, *, late: bool) -> Executed:
    executed, gate = Executed(), Gate()
    log = RunLog(executed, gate, _nobody_waits)
    log.begin(loaded.max_log, loaded.max_log_bytes)
    timeout = loaded.timeout if order.timeout is None else order.timeout
    with _streams(log, gate) as captures, _records(log), _folder(), Timeout(gate, timeout, time, late=late):
        executed.report = running.execute(_NUMBER, order, loaded, gate, on_error=executed.raised)
    for capture in captures:
        capture.finish(_NUMBER, only_begun=True)
    log.finish(_NUMBER)
    return executed


def _nobody_waits(_due: float) -> None:
    """Lines are looked at when the run has ended."""


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# -- what an executor's process is for a run ---------------------------------------------------------------
class _Tee(Capture):
    """Lines go to the run's log, and where they would have gone without it: pytest shows them with a test that failed."""

    def __init__(self, log: RunLog, gate: Gate, level: str, outside: TextIO) -> None:
        super().__init__(log, gate, level, outside)
        self._run, self._beyond = log, outside

    def write(self, text: str) -> int:
        """Take text."""
        written = super().write(text)
        if self._run.number is not None:
            self._beyond.write(text)
        return written


@contextlib.contextmanager
def _streams(log: RunLog, gate: Gate) -> Iterator[list[Capture]]:
    before = sys.stdout, sys.stderr
    captures: list[Capture] = [_Tee(log, gate, level, stream) for level, stream in zip(("STDOUT", "STDERR"), before, strict=True)]
    sys.stdout, sys.stderr = (cast(TextIO, capture) for capture in captures)
    try:
        yield captures
    finally:
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def _records(log: RunLog) -> Iterator[None]:
    """Log records go to this run's log, and not to that of a run which executes this one."""
    root, handler = logging.getLogger(), RunHandler(log)
    level, others = root.level, [other for other in root.handlers if isinstance(other, RunHandler)]
    for other in others:
        root.removeHandler(other)
    root.addHandler(handler)
    if level > logging.INFO:
        root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for other in others:
            root.addHandler(other)


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    try:
        before = Path.cwd()
    except OSError:  # somebody has removed it
        yield
        return
    try:
        yield
    finally:
        os.chdir(before)


class Timeout:
    """Stops a run that exceeds its timeout, as the worker does: by a signal on the main thread, else by cancelling its
    coroutine.

    A run on another thread that is no coroutine can't be interrupted; its outcome is still the timeout. While a debugger is at
    work nothing is stopped.
    """

    def __init__(self, gate: Gate, seconds: float, time: Time, *, late: bool = False) -> None:
        self._gate, self._seconds, self._time, self._late = gate, seconds, time, late
        self._deadline = clock.monotonic() + seconds
        self._thread = threading.get_ident()
        self._signals = threading.current_thread() is threading.main_thread()
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._wait, name="taskq-timeout", daemon=True)

    def __enter__(self) -> None:
        self._gate.look = self._look
        self._time.watchers.append(self)
        if self._signals:
            self._before = signal.signal(signal.SIGUSR1, self._gate.on_signal)
        self._watch.start()
        if self._late:
            self._gate.on_signal()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()
        if self._signals:
            os.getppid()  # a signal that was sent by now is delivered on the way back from the kernel, to our handler
            signal.signal(signal.SIGUSR1, self._before or signal.SIG_DFL)
        self._time.watchers.remove(self)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """The run's code is not in progress meanwhile; a stop that came is let through afterwards."""
        number, self._gate.current = self._gate.current, None
        try:
            yield
        finally:
            self._gate.current = number
        self.moved()

    def moved(self) -> None:
        """The time was moved, perhaps beyond the deadline."""
        if clock.monotonic() < self._deadline:
            return
        self._late = True
        if threading.get_ident() == self._thread:
            self._gate.on_signal(0, sys._getframe(1))
        else:
            self._strike()

    def _wait(self) -> None:
        if self._signals:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        delay = min(self._seconds, threading.TIMEOUT_MAX)
        while not self._ended.wait(delay):
            self._late = True
            self._strike()
            delay = _REPEAT

    def _strike(self) -> None:
        if self._signals:
            signal.pthread_kill(self._thread, signal.SIGUSR1)
            return
        self._look()
        if self._gate.divert is not None and self._gate.why is not None:
            self._gate.divert()

    def _look(self) -> None:
        if self._late and not _debugging():
            self._gate.stop("timeout")


def _debugging() -> bool:
    trace: Any = sys.gettrace()
    home = str(getattr(trace, "__module__", None) or type(trace).__module__)
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    return home.partition(".")[0] in _DEBUGGERS or (monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None)
