"""`Crew`: several workers as processes below one command, each running one job at a time.

The process that supervises them serves no queue: it waits for signals and children. SIGTERM and SIGINT are passed on (the first one
lets jobs end, a second one does not), SIGUSR1 as well. A worker that ends is replaced under a new number, not more than once a second,
unless the crew is to end with its workers (``--burst``, ``--max-idle``). If the supervising process is killed, its workers get SIGTERM.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

from taskq.registry import clock
from taskq.registry.errors import TaskqError
from taskq.registry.runtime.process import process_control

log = logging.getLogger("taskq.worker")

_STOPS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_HEARD: Final = _STOPS | {signal.SIGUSR1, signal.SIGCHLD}
_PR_SET_PDEATHSIG: Final = 1
_PAUSE: Final = 1.0


class Crew:
    """N processes that each do ``work(number)``.

    Args:
        count: how many at once.
        work: what each does; its number is 1 and up, a replacement's the next that was never used.
        replaces: whether one that ends is replaced.
    """

    def __init__(self, count: int, work: Callable[[int], None], *, replaces: bool) -> None:
        self._count, self._work, self._replaces = count, work, replaces
        self._members: dict[int, int] = {}  # pid → number
        self._started = 0
        self._stopping = False
        self._due = 0.0  # no replacement before
        self._code = 0

    def work(self) -> int:
        """Work until all have ended; the exit code: 0, or that of the first one that failed and was not replaced."""
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        try:
            for _ in range(self._count):
                self._start(masked)
            while self._members or (self._replaces and not self._stopping):
                heard = signal.sigtimedwait(_HEARD, _PAUSE)
                if heard is not None and heard.si_signo != signal.SIGCHLD:
                    self._pass_on(heard.si_signo)
                self._reap()
                self._replace(masked)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        return self._code

    def _start(self, masked: set[int]) -> None:
        self._started += 1
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(self._work, self._started, parent, masked)
        self._members[pid] = self._started

    def _pass_on(self, number: int) -> None:
        self._stopping = self._stopping or number in _STOPS
        for pid in self._members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _reap(self) -> None:
        while self._members:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            number = self._members.pop(pid, None)
            if number is not None:
                code = os.waitstatus_to_exitcode(status)
                log.log(logging.WARNING if code else logging.INFO, "worker %d of the crew has ended (%d)", number, code)
                if code and not self._replaces:
                    self._code = self._code or (code if code > 0 else 1)

    def _replace(self, masked: set[int]) -> None:
        missing = self._count - len(self._members)
        if not self._replaces or self._stopping or not missing or clock.monotonic() < self._due:
            return
        self._due = clock.monotonic() + _PAUSE
        try:
            for _ in range(missing):
                self._start(masked)
        except OSError as error:  # limits, memory: those that are there go on
            log.error("a worker of the crew can't be started: %s; it is tried again", error)  # noqa: TRY400  # the system says it all


def _become(work: Callable[[int], None], number: int, parent: int, masked: set[int]) -> None:
    """Be a member; never returns."""
    code = 1
    try:
        os.setpgrp()  # Ctrl-C reaches the supervising process, which passes it on once
        process_control(_PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        if os.getppid() == parent:  # else it had died before the line above
            work(number)
        code = 0
    except TaskqError as error:
        log.error("%s", error)  # noqa: TRY400  # a message for people, as the command line would show it
        code = error.exit_code
    except SystemExit:
        code = 0  # RQ's cold shutdown
    except BaseException:
        log.exception("worker %d of the crew", number)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(code)
