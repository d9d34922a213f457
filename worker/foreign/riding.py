"""What the horse does: one job after the other, each as if it were the first.

An order is a map: ``job`` (its id), ``queue`` (its key), ``fields`` (the job's hash as Redis has it), ``execution`` (its id), ``since``
(when that was made, in seconds), and ``stopped`` (true: the job was stopped; run its callback and record it). It is answered by one
byte when all that belongs to it stands in Redis; by another one where the process is not fit for a further job, and ends.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgpack
from rq.executions import Execution
from rq.utils import now

from taskq.registry import clock
from taskq.registry.runtime.process import process_control
from taskq.worker.foreign.horse import DONE, LAST, LENGTH
from taskq.worker.link.descendants import children_of

if TYPE_CHECKING:
    from taskq.worker.foreign.worker import RQWorker

_PR_SET_CHILD_SUBREAPER: Final = 36
_LOOK: Final = 2.0
_STREAMS: Final = ("stdin", "stdout", "stderr")
_CHUNK: Final = 1 << 20
_RESTORED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGALRM,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGHUP,
    signal.SIGPIPE,
)


def ride(worker: RQWorker, link: socket.socket, parent: int) -> NoReturn:
    """Be the horse of ``worker``, of which this process is a fork, until the other end of the link is closed or its process is gone.

    Args:
        worker: this process' copy of it.
        link: where orders come from.
        parent: id of the process that holds its other end.
    """
    try:
        _settle(worker)
        habits = Habits()
        link.settimeout(_LOOK)
        while (order := _receive(link, parent)) is not None:
            _perform(worker, order)
            if os.getpid() != habits.pid:
                os._exit(0)  # a fork that the job has made, and which has returned from it
            fit = habits.restore()
            _flush()
            worker.procline("Waiting for a job")
            try:
                link.sendall(DONE if fit else LAST)
            except OSError:
                break  # the worker is gone, or the job has closed what was not its own
            if not fit:
                break
    except BaseException:  # as RQ's horse does: nothing may unwind into the worker's own frames, of which this is a copy
        worker.log.exception("Worker %s: its horse ends", worker.name)
        _flush()
        os._exit(1)
    os._exit(0)


class Habits:
    """What a job may change of the process, and the next one must find as it was."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._environment = dict(os.environ)
        self._handlers = {number: signal.getsignal(number) for number in _RESTORED}
        self._folder = Path.cwd()
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._streams = {name: getattr(sys, name) for name in _STREAMS}
        self._path = list(sys.path)
        self._ended: set[int] = set()

    def restore(self) -> bool:
        """A job has ended; whether the process is fit for another one."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _RESTORED)
        os.environ.pop("RQ_JOB_ID", None)
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        os.umask(self._umask)
        for name, stream in self._streams.items():
            setattr(sys, name, stream)
        if sys.path != self._path:
            sys.path[:] = self._path
        self._reap()
        try:
            os.chdir(self._folder)
        except OSError:
            return False
        return not any(getattr(stream, "closed", False) for stream in self._streams.values())

    def _reap(self) -> None:
        """Reap what was adopted and has ended. A child that a job itself started is left to it until the next job has ended."""
        ended: set[int] = set()
        with contextlib.suppress(ChildProcessError):
            if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                ended = set(filter(_is_over, children_of(self.pid)))
        for pid in ended & self._ended:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._ended = ended


def _is_over(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False


def _settle(worker: RQWorker) -> None:
    os.setpgrp()  # so that Ctrl-C reaches the worker alone
    process_control(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    worker.become_horse()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _RESTORED)
    os.environ["RQ_WORKER_ID"] = worker.name


def _perform(worker: RQWorker, order: dict[str, Any]) -> None:
    random.seed()
    job = worker.job_class(order["job"], connection=worker.connection, serializer=worker.serializer)
    job.restore(order["fields"])
    job.redis_server_version = worker.get_redis_server_version()
    execution = Execution(order["execution"], job.id, connection=worker.connection, worker_name=worker.name)
    execution.created_at = execution.last_heartbeat = clock.utc(order["since"])
    execution._job = job
    worker.executions = {execution.id: execution}
    queue = worker.queue_of(order["queue"])
    os.environ["RQ_JOB_ID"] = job.id
    if order["stopped"]:
        job.ended_at = now()
        worker.record_stop(job, queue, execution)
    else:
        worker.perform_job(job, queue, execution)


def _receive(link: socket.socket, parent: int) -> dict[str, Any] | None:
    """The next order, or None when there will be none."""
    head = _read(link, LENGTH.size, parent)
    if head is None:
        return None
    body = _read(link, LENGTH.unpack(head)[0], parent)
    order: dict[str, Any] | None = None if body is None else msgpack.unpackb(body)
    return order


def _read(link: socket.socket, size: int, parent: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        try:
            piece = link.recv(min(size - len(data), _CHUNK))
        except TimeoutError:
            # The other end may be held by a process that the worker has forked (its scheduler), and so outlive it.
            if os.getppid() != parent:
                return None
            continue
        except ConnectionResetError:
            return None
        if not piece:
            return None
        data += piece
    return bytes(data)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # none, a closed one, or one of the job's
            stream.flush()
