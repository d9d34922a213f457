"""What a run prints and logs becomes its log; what is printed outside of a run goes to the worker's stderr.

Lines are batched: a LOG frame leaves after 100 lines, after 100 ms, or before the run's FINISHED. A line has a largest length,
a run a largest number of lines; what is beyond is counted, not kept, and the log says so.

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
from taskq.worker.executor.gate import Gate
from taskq.worker.link.protocol import Kind

MAX_LINE: Final = 8 * 1024
MAX_LINES: Final = 10_000
BATCH_LINES: Final = 100
BATCH_AFTER: Final = 0.1


class Outlet(Protocol):
    """Where LOG frames go: the `taskq.worker.executor.channel.Channel`."""

    def post(self, kind: Kind, number: int, body: dict[str, Any]) -> None:
        """Queue a message."""

    def flush(self) -> None:
        """Write all that waits."""


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
        self._lines: list[tuple[int, float, str, str]] = []
        self._arrived: deque[tuple[int, float, str, str] | None] = deque()
        self._inside = False
        self._since = 0.0
        self._taken = 0
        self._limit = MAX_LINES

    @property
    def number(self) -> int | None:
        """The run in progress, or None."""
        return self._gate.current

    def begin(self, limit: int) -> None:
        """A run begins; at most ``limit`` of its lines are kept."""
        self._taken, self._limit = 0, limit

    def add(self, number: int, level: str, text: str, length: int | None = None) -> None:
        """Take a line of the run ``number``; ``length`` is that of the whole line where ``text`` is only its beginning."""
        with self._gate, self.lock:
            length = len(text) if length is None else length
            if length > MAX_LINE:
                text = f"{text[:MAX_LINE]} … {length - MAX_LINE} characters cut off"
            self._arrived.append((number, clock.now(), level, text))
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

    def _keep(self, line: tuple[int, float, str, str]) -> None:
        self._taken += 1
        if self._taken > self._limit:
            return
        if not self._lines:
            self._since = clock.monotonic()
            self._ring(self._since + BATCH_AFTER)
        self._lines.append(line)
        if len(self._lines) >= BATCH_LINES:
            self._post()
            self._channel.flush()

    def finish(self, number: int) -> None:
        """The run has ended: its last lines leave before its outcome does."""
        dropped = self._taken - self._limit
        if dropped > 0:
            self._taken = 0
            self.add(number, "WARNING", f"… {dropped} more lines were dropped: the log of a run is limited to {self._limit} lines")
        if self._taken:
            self.send()

    def send(self) -> None:
        """Make LOG frames of the lines that wait."""
        with self._gate, self.lock:
            self._arrived.append(None)
            self._take()

    def _post(self) -> None:
        waiting, self._lines = self._lines, []
        batches: dict[int, list[list[Any]]] = {}
        for number, *line in waiting:
            batches.setdefault(number, []).append(line)
        for number, lines in batches.items():
            self._channel.post(Kind.LOG, number, {"lines": lines})

    def due(self) -> float | None:
        """The time (monotonic) by which lines must have been sent, None if there are none."""
        return self._since + BATCH_AFTER if self._lines else None

    def forget(self) -> None:
        """In a forked child: the lines are its parent's, and so may be whoever holds the lock."""
        self._lines, self._arrived, self._inside = [], deque(), False
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
        self._begun = ""  # the beginning of a line that is not complete yet
        self._length = 0  # of all that was written of it
        self._arrived: deque[tuple[int, str]] = deque()
        self._inside = False
        self.buffer = _Bytes(self)

    def write(self, text: str) -> int:
        """Take text; lines leave it as they are completed."""
        number = self._log.number
        if number is None:
            return self._outside.write(text)
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

    def _take(self, number: int, text: str) -> None:
        *lines, rest = text.split("\n")
        for line in lines:
            self._keep(line)
            self.finish(number)
        self._keep(rest)

    def finish(self, number: int, *, only_begun: bool = False) -> None:
        """Complete the line; with ``only_begun`` (at the end of a run) only if there is something in it."""
        if self._length or not only_begun:
            line, length = self._begun, self._length
            self._begun, self._length = "", 0
            self._log.add(number, self._level, line, length)

    def _keep(self, part: str) -> None:
        self._length += len(part)
        room = MAX_LINE - len(self._begun)
        if part and room > 0:
            self._begun += part[:room]

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


class _Bytes(io.RawIOBase):
    """What ``sys.stdout.buffer`` is."""

    def __init__(self, text: Capture) -> None:
        super().__init__()
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._text.write(raw.decode(errors="replace"))
        return len(raw)


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
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001  # whatever formatting the task's arguments raises: logging's own way is to say so and go on
            self.handleError(record)
            return
        if number is None:
            sys.stderr.write(f"{record.levelname} {record.name}: {text}\n")
            return
        self._log.add(number, record.levelname, text)
