"""`Horse`: the process that runs a worker's jobs, as the worker sees it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import warnings
from collections.abc import Callable
from enum import Enum
from resource import struct_rusage
from typing import Final, NoReturn

import msgpack

from taskq.worker.link.descendants import kill_tree

DONE: Final = b"\0"
LAST: Final = b"\1"
LENGTH: Final = struct.Struct(">Q")
_HELD_BACK: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_FAREWELL: Final = 5.0


class News(Enum):
    """What is heard of a horse."""

    DONE = "the job has ended"
    DEAD = "the process has ended, and has not said that its job has"
    NONE = "nothing yet"


class Horse:
    """A running child process with a socketpair to it.

    Attributes:
        pid: its process id. ``jobs``: how many it was given. ``spent``: it has said that it is not fit for another one.
    """

    def __init__(self, pid: int, ours: socket.socket) -> None:
        self.pid = pid
        self.jobs = 0
        self.spent = False
        self._socket = ours
        self._pidfd = os.pidfd_open(pid)
        self._ended: tuple[int, struct_rusage | None] | None = None
        self._poll = select.poll()
        self._poll.register(self._pidfd, select.POLLIN)
        self._poll.register(ours, select.POLLIN)

    @classmethod
    def start(cls, ride: Callable[[socket.socket], NoReturn]) -> Horse:
        """Fork one that calls ``ride`` with its end of the link and never returns from it.

        Raises:
            OSError: it can't be forked, or watched (limits, memory).
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()  # else what is buffered is written by both
            # A signal in between would be handled by the child as if it were the worker; `ride` lets them through again.
            masked = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
            try:
                pid = _fork()
                if pid == 0:
                    ours.close()
                    try:
                        ride(theirs)
                    finally:
                        os._exit(1)
            except BaseException:
                ours.close()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        try:
            return cls(pid, ours)
        except OSError:
            ours.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    def give(self, order: dict[str, object]) -> None:
        """Send it what to do; `hear` tells of its end.

        Raises:
            OSError: it is dead, and has not begun.
        """
        self.jobs += 1
        frame = msgpack.packb(order)
        self._socket.sendall(LENGTH.pack(len(frame)) + frame)

    def hear(self, timeout: float) -> News:
        """Wait for what happens next.

        Args:
            timeout: at most so many seconds.
        """
        happened = {descriptor for descriptor, _ in self._poll.poll(timeout * 1000)}
        if self._socket.fileno() in happened or self._pidfd in happened:
            try:
                said = self._socket.recv(1, socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionResetError):  # it died without a word; what it started may still hold its end
                said = b""
            if said:
                self.spent = said == LAST
                return News.DONE
            if self._pidfd in happened:
                return News.DEAD
            self._poll.unregister(self._socket)  # the job has closed what was not its own; it may go on nevertheless
        return News.NONE

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        if self._ended is None:
            ended, status, rusage = os.wait4(self.pid, os.WNOHANG)
            if ended:
                self._ended = status, rusage
        return self._ended is None

    def wait(self) -> tuple[int, struct_rusage | None]:
        """Wait for its end, which must be near; its status as of ``waitpid``, and what it used."""
        if self._ended is None:
            _, status, rusage = os.wait4(self.pid, 0)
            self._ended = status, rusage
        return self._ended

    def kill(self, number: int) -> bool:
        """Send a signal, SIGKILL to all that descends from it as well; whether it was still there, as far as has been looked."""
        if self._ended is not None:
            return False
        if number == signal.SIGKILL:
            kill_tree(self.pid)
        else:
            os.kill(self.pid, number)
        return True

    def release(self) -> None:
        """Close the link: the process ends after the job that it may have. It is not waited for."""
        self._hang_up()
        os.close(self._pidfd)

    def dismiss(self) -> None:
        """End the process, which has no job, and wait for its end."""
        self._hang_up()
        if self.alive and not select.select([self._pidfd], [], [], _FAREWELL)[0]:
            self.kill(signal.SIGKILL)
        self.wait()
        os.close(self._pidfd)

    def _hang_up(self) -> None:
        # Closed alone it would still be open elsewhere: RQ's scheduler is a fork of the worker, and has a copy.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of a fork beside threads. The only other one waits for commands, as that of RQ's forking worker does.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
