"""One child process that is started again whenever it dies.

::

    start ──► running ──died──► waiting (0.2 s … 5 s) ──► running …
                 │                    │
               stop()               stop()
                 ▼                    ▼
              stopping ──exit──► ended
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from typing import Protocol

from taskq.registry import clock

FIRST_DELAY, LONGEST_DELAY = 0.2, 5.0
STEADY = 10.0  # who ran this long is started again after the first delay
_LONGEST_LINE = 8192
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Listener(Protocol):
    """Who is told what happens to children."""

    def output(self, name: str, line: str) -> None:
        """A child wrote a line."""

    def died(self, name: str, why: str, delay: float) -> None:
        """A child died by itself and is started again in ``delay`` seconds."""

    def started(self, name: str, pid: int, *, again: bool) -> None:
        """A child runs."""


class Child:
    """A supervised child.

    Args:
        name: for people.
        argv: its command line, given how often it was started before.
        environment: its environment.
        listener: who is told.

    Attributes:
        deaths: how often it died by itself.
    """

    def __init__(self, name: str, argv: Callable[[int], list[str]], environment: Mapping[str, str], listener: Listener) -> None:
        self.name = name
        self._argv, self._environment, self._listener = argv, environment, listener
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self.deaths = 0
        self._stopping = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it, and from now on start it again.

        Raises:
            OSError: the program can't be started at all.
        """
        self._spawn()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    def ask_to_stop(self, *, kill: bool = False) -> None:
        """Send SIGTERM (SIGKILL where ``kill``), and start it no more."""
        self._stopping.set()
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)

    async def ended(self, within: float) -> bool:
        """Whether it has ended for good, waiting up to ``within`` seconds."""
        if self._keeper is None:
            return True
        done, _ = await asyncio.wait({self._keeper}, timeout=within)
        return bool(done)

    async def _keep(self) -> None:
        delay = 0.0
        while True:
            begin = clock.monotonic()
            if self._process:
                code = await self._exit_of(self._process)
                if self._stopping.is_set():
                    return
                why = describe_exit(code)
                steady = clock.monotonic() - begin > STEADY
                delay = FIRST_DELAY if steady or not delay else min(delay * 2, LONGEST_DELAY)
            self.deaths += 1
            self._listener.died(self.name, why, delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
                return
            try:
                self._spawn()
            except OSError as error:  # the program may be in the middle of an upgrade
                why, delay = str(error), min(delay * 2, LONGEST_DELAY)

    def _spawn(self) -> None:
        parent = os.getpid()

        def die_with_parent() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        self._process = subprocess.Popen(  # our own programs only
            self._argv(self._starts),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self._environment),
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # the keeper has one thread
        )
        self._listener.started(self.name, self._process.pid, again=self._starts > 0)
        self._starts += 1

    async def _exit_of(self, process: subprocess.Popen[bytes]) -> int:
        """Its exit code, once it has ended; its output goes to the listener meanwhile."""
        loop = asyncio.get_running_loop()
        assert process.stdout is not None  # noqa: S101  # it was made with a pipe
        transport, _ = await loop.connect_read_pipe(lambda: _Lines(self.name, self._listener), process.stdout)
        pidfd = os.pidfd_open(process.pid)
        gone = asyncio.Event()
        loop.add_reader(pidfd, gone.set)
        try:
            await gone.wait()
            await asyncio.sleep(0)  # what it wrote last is read in the same turn of the loop
            return process.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            transport.close()
            self._process = None


class _Lines(asyncio.Protocol):
    """Cuts what a child writes into lines."""

    def __init__(self, name: str, listener: Listener) -> None:
        self._name, self._listener, self._rest = name, listener, b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._listener.output(self._name, line.decode(errors="replace").rstrip())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        if self._rest:
            self._listener.output(self._name, self._rest.decode(errors="replace").rstrip())


def describe_exit(code: int) -> str:
    """``exit code 3`` or ``signal SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
