"""`Feeder`: keeps a queue filled while something else is measured."""

from __future__ import annotations

import threading
import time

from benchmarks.clients.taskq import CLIENT
from benchmarks.peers.fleet import Taskq
from benchmarks.processes import pause
from taskq import TaskqError

_CALL = 1000
_LOOK = 0.05


class Feeder:
    """A thread that enqueues runs of a task whenever fewer than ``low`` wait, up to a total if there is one.

    ``keep``: whether `identities` and `values` are asked for.

    As a context manager it stops with the block. What it enqueued is in `enqueued`; a fault of it is raised at the end.
    """

    def __init__(self, peer: Taskq, job: str, low: int, total: int | None = None, *, keep: bool = True) -> None:
        self._peer, self._job, self._low, self._total, self._keep = peer, job, low, total, keep
        self._client = CLIENT(peer.server.url)
        self._over = threading.Event()
        self._fault: TaskqError | None = None
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self.enqueued = 0

    @property
    def done(self) -> bool:
        """Whether the total has been enqueued."""
        return self._total is not None and self.enqueued >= self._total

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()
        if self._fault is not None:
            raise self._fault

    def identities(self) -> list[str]:
        """The ids of all runs, in the order in which they were enqueued."""
        return [handle.id for handle in self._client.handles]

    def values(self, first: int, count: int, step: int = 1) -> list[object]:
        """Results, read through the library."""
        return self._client.values(first, count, step, 30)

    def _feed(self) -> None:
        waiting = self._peer.server.in_database(0)
        try:
            while not self._over.is_set() and not self.done:
                if waiting.llen(f"rq:queue:{self._peer.queue}") < self._low:
                    size = _CALL if self._total is None else min(_CALL, self._total - self.enqueued)
                    self._client.many(self._job, size)
                    self.enqueued += size
                    if not self._keep:
                        self._client.handles.clear()
                else:
                    pause(_LOOK)
        except TaskqError as error:
            self._fault = error


def rate(peer: Taskq, seconds: float) -> float:
    """Runs that end each second, from now on for so long."""
    began, before = time.monotonic(), peer.finished()
    pause(seconds)
    return (peer.finished() - before) / (time.monotonic() - began)
