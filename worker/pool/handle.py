"""`Handle`: one executor, its inbox, and what it says."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from taskq.registry import clock
from taskq.worker.link.channel import Channel
from taskq.worker.link.process import ExecutorProcess
from taskq.worker.link.protocol import PROTOCOL, Kind, Message
from taskq.worker.runs.run import Run, StopReason

log = logging.getLogger("taskq.worker")
VersionKey = tuple[str, int]


@dataclass(slots=True, eq=False)
class Ask:
    """A request that is no run: LOAD or INSPECT.

    ``answer`` gets the body of what it is answered; ``{"ok": False, "died": returncode}`` if the executor died of it, None
    if it died of something else.
    """

    kind: Kind
    timeout: float
    version: VersionKey | None = None
    answer: asyncio.Future[dict[str, Any] | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


Request = Run | Ask
_ANSWER_TO = {Kind.LOADED: Kind.LOAD, Kind.INSPECTED: Kind.INSPECT}


class Watcher(Protocol):
    """Who is told what a handle sees."""

    def began(self, handle: Handle) -> None:
        """A request came to the head of the inbox."""

    def finished(self, handle: Handle, run: Run, report: dict[str, Any]) -> None:
        """A run ended, or was handed back."""

    def logged(self, run: Run, lines: Any) -> None:
        """A run wrote lines; what they are is not checked yet."""

    def load_failed(self, handle: Handle, version: VersionKey, error: str) -> None:
        """A version could not be loaded there."""

    def gone(self, handle: Handle, returncode: int, requests: list[Request]) -> None:
        """The executor is dead. ``requests`` is what it had not answered, the head first."""


class Handle:
    """One executor.

    Args:
        process: it. ``watcher``: who is told. ``max_result``, ``max_log``: limits of each run, in bytes and lines.

    Attributes:
        inbox: what was asked and not answered, by number.
        loaded: versions that it has, or has been asked to load.
        deadline: when the head is late, monotonic; infinite if it never is. ``stage`` is owned by `deadlines`.
        late: what it did last took too long, and it was killed. ``greeted``: it said hello. ``started``: when it was started, monotonic.
    """

    _numbers = 0

    def __init__(self, process: ExecutorProcess, watcher: Watcher, *, max_result: int, max_log: int) -> None:
        self.process, self.watcher = process, watcher
        self.max_result, self.max_log = max_result, max_log
        self.inbox: dict[int, Request] = {}
        self.runs = 0
        self.loaded: set[VersionKey] = set()
        self.deadline = math.inf
        self.stage = 0
        self.asked = 0.0
        self.greeted = False
        self.draining = False
        self.late = False
        self.dead = False
        self.started = clock.monotonic()
        self._channel: Channel | None = None

    @classmethod
    async def start(cls, process: ExecutorProcess, watcher: Watcher, *, max_result: int, max_log: int) -> Handle:
        """A handle for a process that was just started."""
        handle = cls(process, watcher, max_result=max_result, max_log=max_log)
        handle._channel = await Channel.open(process.socket, handle._receive, handle._channel_ended)
        asyncio.get_running_loop().add_reader(process.pidfd, handle._process_ended)
        return handle

    # -- asking --------------------------------------------------------------------------------------------
    @property
    def head(self) -> Request | None:
        """What it works on now."""
        return next(iter(self.inbox.values()), None)

    def run(self, run: Run) -> None:
        """Send a run; its version must have been loaded by `load` before.

        Raises:
            ProtocolError: it is too large for a frame.
        """
        self._send(Kind.RUN, run, run.order(max_result=self.max_result, max_log=self.max_log))
        self.runs += 1

    def load(self, version: VersionKey, body: dict[str, Any], timeout: float) -> Ask:
        """Have a version loaded, in order with everything else; its answer is in the `Ask`."""
        ask = Ask(Kind.LOAD, timeout, version)
        self.loaded.add(version)
        self._send(Kind.LOAD, ask, body)
        return ask

    def inspect(self, source: bytes, file: str, timeout: float) -> Ask:
        """Have a file inspected: only ever in a throw-away executor."""
        ask = Ask(Kind.INSPECT, timeout)
        self._send(Kind.INSPECT, ask, {"source": source, "file": file})
        return ask

    def unload(self, version: VersionKey) -> None:
        """Have a version dropped."""
        if version in self.loaded and self._channel is not None:
            self.loaded.discard(version)
            self._channel.send(Kind.UNLOAD, 0, {"task": version[0], "version": version[1]})

    def take_back(self) -> None:
        """Ask for all runs that have not begun."""
        waiting = [number for number, request in self.inbox.items() if isinstance(request, Run)]
        if self.head is not None and waiting and isinstance(self.head, Run):
            del waiting[0]
        for number in waiting:
            self._tell(Kind.YIELD, number, {})
        if waiting:
            self._interrupt()

    def cancel_head(self, why: StopReason) -> None:
        """Have the run in progress stopped; may be repeated."""
        for number, request in self.inbox.items():
            if isinstance(request, Run):
                request.stop = request.stop or why
                self._tell(Kind.CANCEL, number, {"why": request.stop if request.stop != "lost" else "cancel"})
                self._interrupt()
            return

    def drain(self) -> None:
        """Have it finish what it has begun, hand back the rest and exit."""
        if not self.draining:
            self.draining = True
            self._tell(Kind.DRAIN, 0, {})
            self._interrupt()

    def kill(self) -> None:
        """SIGKILL it and everything below it. `Watcher.gone` follows."""
        self.process.kill()

    def _send(self, kind: Kind, request: Request, body: dict[str, Any]) -> None:
        Handle._numbers += 1
        if self._channel is not None:
            self._channel.send(kind, Handle._numbers, body)
        self.inbox[Handle._numbers] = request
        if len(self.inbox) == 1:
            self._begin_head()

    def _tell(self, kind: Kind, number: int, body: dict[str, Any]) -> None:
        if self._channel is not None:
            self._channel.send(kind, number, body)

    def _interrupt(self) -> None:
        # The frame must be on its way before the signal. Before its hello an executor has no handler for it: the signal would end it.
        if self._channel is not None:
            self._channel.flush()
            if self.greeted:
                self.process.interrupt()

    # -- being told ----------------------------------------------------------------------------------------
    def _begin_head(self) -> None:
        """Another request came to the head of the inbox, or none is left."""
        head, now = self.head, clock.monotonic()
        self.stage = 0
        self.deadline = math.inf if head is None else now + head.timeout
        if isinstance(head, Run):
            head.began = now
        if head is not None:
            self.watcher.began(self)

    def _receive(self, messages: Sequence[Message]) -> None:
        for kind, number, body in messages:
            if kind is Kind.FINISHED:
                self._on_finished(number, body)
            elif kind is Kind.LOG:
                request = self.inbox.get(number)
                if isinstance(request, Run):
                    self.watcher.logged(request, body.get("lines"))
            elif kind in _ANSWER_TO:
                self._on_answer(kind, number, body)
            elif kind is Kind.HELLO and body.get("protocol") == PROTOCOL:
                self.greeted = True
            else:
                log.error("executor %d sent %s with an unknown meaning; it is replaced", self.process.pid, kind.name)
                self.kill()
                return

    def _on_finished(self, number: int, report: dict[str, Any]) -> None:
        request = self.inbox.get(number)
        if not isinstance(request, Run):
            return
        was_head = self.head is request
        if request.stop is not None:
            self.process.kill_descendants()  # it was told to stop, and so was all that it started
        del self.inbox[number]
        self.runs -= 1
        if was_head:
            self._begin_head()
        self.watcher.finished(self, request, report)

    def _on_answer(self, kind: Kind, number: int, body: dict[str, Any]) -> None:
        request = self.inbox.get(number)
        if not isinstance(request, Ask) or request.kind is not _ANSWER_TO[kind]:
            return
        del self.inbox[number]
        self._begin_head()
        if request.version is not None and not body.get("ok"):
            self.loaded.discard(request.version)
            self.watcher.load_failed(self, request.version, str(body.get("error")))
        if not request.answer.done():
            request.answer.set_result(body)

    def _channel_ended(self) -> None:
        """An executor without a channel is of no use. One that is exiting keeps its own return code."""
        if not self.dead:
            self.process.kill()

    def _process_ended(self) -> None:
        returncode = self.process.reap()
        if returncode is None or self.dead:
            return
        self.dead = True
        asyncio.get_running_loop().remove_reader(self.process.pidfd)
        if self._channel is not None:
            self._channel.finish(self.process.socket)  # what it said before it died counts
            self._channel = None
        self.process.close()
        requests = list(self.inbox.values())
        self.inbox.clear()
        self.runs = 0
        self.deadline = math.inf
        for at, request in enumerate(requests):
            if isinstance(request, Ask) and not request.answer.done():
                request.answer.set_result({"ok": False, "died": returncode} if at == 0 else None)
        self.watcher.gone(self, returncode, requests)
