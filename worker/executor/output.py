"""What a run prints and logs becomes its log; what is printed outside of a run goes to the worker's stderr.

Lines are batched: a LOG frame leaves after 100 lines, after 100 ms, or before the run's FINISHED. A line has a largest length,
a run a largest number of lines and of bytes; what is beyond is counted here and sent nowhere, and the log says so where it
ends and once more, with the count, at the end of the run. Counting is all that a line costs then: a run that prints without end
floods neither its supervisor nor Redis.

What a program that a task starts writes to the streams that it inherits goes to the worker's stderr: it is no part of the log.

A finaliser may run between any two steps of this code and print as well, on the same thread. So what changes state is not
entered twice: who comes while somebody is in there leaves what it has in a queue, and the first one takes it along.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, TextIO

from taskq.registry import clock
from taskq.registry.code.traces import last_line
from taskq.registry.runs.fields import fields_of
from taskq.worker.executor.gate import Gate
from taskq.worker.link.protocol import Kind

MAX_LINE: Final = 8 * 1024
MAX_RECORD: Final = 32 * 1024
MAX_LINES: Final = 10_000
MAX_BYTES: Final = 4 * 1024 * 1024
# Loggers whose name says nothing: the one of `TaskContext.log`, and the one that the functions of `logging` use.
UNNAMED: Final = ("taskq.task", "root")
BATCH_LINES: Final = 100
BATCH_AFTER: Final = 0.1


class Outlet(Protocol):
    """Where LOG frames go: the `taskq.worker.executor.channel.Channel`."""

    def post(self, kind: Kind, number: int, body: dict[str, Any]) -> None:
        """Queue a message."""

    def flush(self) -> None:
        """Write all that waits."""


class _Account:
    """What one run has logged so far."""

    __slots__ = ("bytes", "dropped", "full", "lines")

    def __init__(self) -> None:
        self.lines = self.bytes = self.dropped = 0
        self.full = False


Line = tuple[int, float, str, str, dict[str, Any] | None]
"""Number of the run, when, level, text, and what a record says besides: ``logger`` and ``fields``."""


class RunLog:
    """Collects the lines of the run in progress and sends them."""

    def __init__(self, channel: Outlet, gate: Gate, ring: Callable[[float], None]) -> None:
        """
        Args:
            channel: where LOG frames go.
            gate: names the run in progress.
            ring: called with the time (monotonic) by which lines must have been sent.
        """
        self._channel, self._gate, self._ring = channel, gate, ring
        # Re-entrant, since a finaliser may print while its thread is in here. On the main thread it is taken with the gate held.
        self.lock = threading.RLock()
        self._lines: list[Line] = []
        self._arrived: deque[Line | None] = deque()
        self._inside = False
        self._since = 0.0
        self._accounts: dict[int, _Account] = {}
        self._most_lines, self._most_bytes = MAX_LINES, MAX_BYTES

    @property
    def number(self) -> int | None:
        """The run that this code executes for, or None."""
        return self._gate.number

    def begin(self, lines: int, size: int = MAX_BYTES) -> None:
        """A run begins; at most so many of its lines are kept, and of its text so many bytes."""
        self._most_lines, self._most_bytes = lines, size

    def full(self, number: int) -> bool:
        """Whether nothing more of the run is kept, so that nobody need work it out; `skip` counts it."""
        account = self._accounts.get(number)
        return account is not None and account.full

    def skip(self, number: int, lines: int) -> None:
        """Count lines of a run whose log is full."""
        account = self._accounts.get(number)
        if account is not None:
            account.dropped += lines

    def add(self, number: int, level: str, text: str, more: dict[str, Any] | None = None) -> None:
        """Take a line of the run ``number``; ``more`` is what a record says besides its text."""
        with self._gate, self.lock:
            self._arrived.append((number, clock.now(), level, text, more))
            self._take()

    def _take(self) -> None:
        """Deal with what has arrived: lines, and None for "send"; the locks are held."""
        if self._inside:
            return
        self._inside = True
        try:
            while self._arrived:
                line = self._arrived.popleft()
                if line is None:
                    self._post()
                else:
                    self._keep(line)
        finally:
            self._inside = False

    def _keep(self, line: Line) -> None:
        number, at, _, text, more = line
        account = self._accounts.get(number)
        if account is None:
            account = self._accounts[number] = _Account()
        if account.full:
            account.dropped += 1
            return
        account.lines += 1
        account.bytes += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if more is not None:
            account.bytes += len(repr(more))
        if account.lines > self._most_lines or account.bytes > self._most_bytes:
            account.full = True
            account.dropped += 1
            line = (number, at, "WARNING", f"… the log of a run is limited to {self._limits()}: what follows is dropped", None)
        self._hold(line)

    def _hold(self, line: Line) -> None:
        if not self._lines:
            self._since = clock.monotonic()
            self._ring(self._since + BATCH_AFTER)
        self._lines.append(line)
        if len(self._lines) >= BATCH_LINES:
            self._post()
            self._channel.flush()

    def _limits(self) -> str:
        return f"{self._most_lines:,} lines and {self._most_bytes:,} bytes"

    def finish(self, number: int) -> None:
        """The run has ended: its last lines leave before its outcome does."""
        account = self._accounts.pop(number, None)
        if account is None:
            return
        if account.full:
            with self._gate, self.lock:
                text = f"… {account.dropped:,} more lines were dropped: the log of a run is limited to {self._limits()}"
                self._hold((number, clock.now(), "WARNING", text, None))
        self.send()

    def send(self) -> None:
        """Make LOG frames of the lines that wait."""
        with self._gate, self.lock:
            self._arrived.append(None)
            self._take()

    def _post(self) -> None:
        waiting, self._lines = self._lines, []
        batches: dict[int, list[list[Any]]] = {}
        for number, *line, more in waiting:
            batches.setdefault(number, []).append(line if more is None else [*line, more])
        for number, lines in batches.items():
            self._channel.post(Kind.LOG, number, {"lines": lines})

    def due(self) -> float | None:
        """The time (monotonic) by which lines must have been sent, None if there are none."""
        return self._since + BATCH_AFTER if self._lines else None

    def forget(self) -> None:
        """In a forked child: the lines are its parent's, and so may be whoever holds the lock."""
        self._lines, self._arrived, self._inside, self._accounts = [], deque(), False, {}
        self.lock = threading.RLock()


class Capture(io.TextIOBase):
    """A stand-in for ``sys.stdout`` and ``sys.stderr``: whole lines go to the run's log."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, log: RunLog, gate: Gate, level: str, outside: TextIO) -> None:
        """
        Args:
            log: takes the lines of a run.
            gate: held meanwhile.
            level: of the lines.
            outside: takes what is written while no run is in progress.
        """
        super().__init__()
        self._log, self._gate, self._level, self._outside = log, gate, level, outside
        # By run: the beginning of a line that is not complete yet, and the length of all that was written of it.
        self.begun: dict[int, tuple[str, int]] = {}
        self._arrived: deque[tuple[int, str]] = deque()
        self._inside = False
        self.buffer = _Bytes(self)

    def write(self, text: str) -> int:
        """Take text; lines leave it as they are completed."""
        number = self._log.number
        if number is None:
            return self._outside.write(text)
        if self.skipped(text):
            return len(text)
        with self._gate, self._log.lock:
            self._arrived.append((number, text))
            if not self._inside:
                self._inside = True
                try:
                    while self._arrived:
                        self._take(*self._arrived.popleft())
                finally:
                    self._inside = False
        return len(text)

    def skipped(self, data: str | bytes) -> bool:
        """Whether the run's log is full; what is written is then counted and nothing else is done with it."""
        number = self._log.number
        if number is None or not self._log.full(number):
            return False
        self._log.skip(number, data.count("\n") if isinstance(data, str) else data.count(b"\n"))
        return True

    def _take(self, number: int, text: str) -> None:
        start = 0
        while (end := text.find("\n", start)) >= 0:  # not split at once: of a very large text little is kept
            self._keep(number, text, start, end)
            self.finish(number)
            start = end + 1
            if self._log.full(number):
                self._log.skip(number, text.count("\n", start))
                return
        self._keep(number, text, start, len(text))

    def finish(self, number: int, *, only_begun: bool = False) -> None:
        """Complete the line; with ``only_begun`` (at the end of a run) only if there is something in it."""
        line, length = self.begun.pop(number, _EMPTY)
        if length or not only_begun:
            self._log.add(number, self._level, _cut(line, length))

    def _keep(self, number: int, text: str, start: int, end: int) -> None:
        if start == end:
            return
        line, length = self.begun.get(number, _EMPTY)
        room = min(MAX_LINE - len(line), end - start)
        self.begun[number] = line + text[start : start + room] if room > 0 else line, length + end - start

    def writable(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Nothing: the next run writes here too."""

    def isatty(self) -> bool:
        """False: a run has no terminal."""
        return False

    def reconfigure(self, **_options: Any) -> None:
        """Nothing: lines are taken whole, whatever buffering a task asks for."""

    def fileno(self) -> int:
        """The worker's stderr, for programs that a task starts with its own streams."""
        return self._outside.fileno()


_EMPTY: Final = ("", 0)


class _Bytes(io.RawIOBase):
    """What ``sys.stdout.buffer`` is."""

    def __init__(self, text: Capture) -> None:
        super().__init__()
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raw = bytes(data)
        if not self._text.skipped(raw):
            self._text.write(raw.decode(errors="replace"))
        return len(raw)


class Streams:
    """Both streams of the process."""

    def __init__(self, log: RunLog, gate: Gate) -> None:
        """
        Args:
            log: takes the lines of runs. ``gate``: held meanwhile. What is written outside of a run goes to the ``sys.stderr`` of now.
        """
        self._out, self._err = (Capture(log, gate, level, sys.stderr) for level in ("STDOUT", "STDERR"))

    def install(self) -> None:
        """Make them ``sys.stdout`` and ``sys.stderr``."""
        sys.stdout, sys.stderr = self._out, self._err

    def finish(self, number: int) -> None:
        """A run has ended: a line that it has begun is complete."""
        for capture in (self._out, self._err):
            if capture.begun:
                capture.finish(number, only_begun=True)


class RunHandler(logging.Handler):
    """Sends log records of a run to its log."""

    def __init__(self, log: RunLog) -> None:
        super().__init__(logging.INFO)
        self._log = log
        self.setFormatter(logging.Formatter("%(message)s"))

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit, without the handler's lock: a stop between its being taken and released would leave it taken."""
        passed = self.filter(record)
        if not passed:
            return False
        self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; outside of a run it goes to the worker's stderr."""
        number = self._log.number
        if number is not None and self._log.full(number):
            self._log.skip(number, 1)
            return
        try:
            text = self.format(record)
        except Exception as error:  # noqa: BLE001  # whatever formatting the task's arguments raises: it is said, and the run goes on
            # Not by logging's own handleError: what it prints is mostly the stack of this process.
            text = f"this record can't be shown ({record.filename}:{record.lineno}): {last_line(error)}"
        if number is None:
            sys.stderr.write(f"{record.levelname} {record.name}: {text}\n")
            return
        # Of a traceback the end counts.
        text = _cut_in_the_middle(text) if record.exc_info else _cut(text, len(text))
        self._log.add(number, record.levelname, text, _more(record))


def _more(record: logging.LogRecord) -> dict[str, Any] | None:
    """The record's logger, if its name says something, and its fields; None for neither."""
    more: dict[str, Any] = {} if record.name in UNNAMED else {"logger": record.name}
    fields = fields_of(record)
    if fields:
        more["fields"] = fields
    return more or None


def _cut(text: str, length: int) -> str:
    """A line of ``length`` characters, of which ``text`` is the beginning or all."""
    return text if length <= MAX_LINE else f"{text[:MAX_LINE]} … {length - MAX_LINE} characters cut off"


def _cut_in_the_middle(text: str) -> str:
    if len(text) <= MAX_RECORD:
        return text
    half = MAX_RECORD // 2
    return f"{text[:half]}\n… {len(text) - MAX_RECORD} characters cut out …\n{text[-half:]}"
