"""A helper thread that writes in time what a long run would hold back: results of earlier runs, and log lines.

The loop writes between runs. Once a run has begun, nobody knows for how long; so whoever leaves something waiting rings, and
the flusher writes it when it is due. With nothing waiting it sleeps without a timeout and costs nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from taskq.registry import clock

EXIT_SOFTWARE: Final = 70  # EX_SOFTWARE of sysexits.h
_NEVER: Final = float("inf")


class Flusher:
    """Calls ``flush`` as soon as ``next_due()`` has come, once it was rung awake."""

    def __init__(self, next_due: Callable[[], float | None], flush: Callable[[float], None]) -> None:
        """
        Args:
            next_due: the time on the monotonic clock at which something must be written, None if nothing waits.
            flush: writes what is due at the given time.
        """
        self._next_due, self._flush = next_due, flush
        # A bare lock as the bell: unlike threading.Event it may be rung from a signal handler or a finaliser that
        # interrupted a ring.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._wakes_at = _NEVER

    def start(self) -> None:
        """Start the thread, as a daemon: it must never keep the process alive."""
        threading.Thread(target=self._work, name="taskq-flusher", daemon=True).start()

    def ring(self, due: float) -> None:
        """Something will have to be written at ``due`` (monotonic); cheap if the thread wakes by then anyway."""
        if due < self._wakes_at:
            self._wakes_at = due
            try:
                self._bell.release()
            except RuntimeError:
                return  # rung already

    def _work(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # the main thread must be interrupted, not this one
        try:
            self._serve()
        except BaseException:  # noqa: BLE001  # a thread must not die unseen: without it results could wait for ever
            traceback.print_exc(file=sys.__stderr__)
            os._exit(EXIT_SOFTWARE)

    def _serve(self) -> NoReturn:
        while True:
            self._wakes_at = _NEVER  # first, so that whatever `next_due` does not see yet rings
            due = self._next_due()
            if due is None:
                self._bell.acquire()
            elif (pause := due - clock.monotonic()) > 0:
                self._wakes_at = due
                self._bell.acquire(timeout=pause)
            else:
                self._flush(clock.monotonic())
