"""`Handle`: one executor: what it is told, and what it says."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

from taskq.registry import clock
from taskq.worker.link.channel import Channel
from taskq.worker.link.lanes import ALONE, Lane
from taskq.worker.link.process import ExecutorProcess
from taskq.worker.link.protocol import MAX_PARAMS, PROTOCOL, Kind, Message, ProtocolError, as_report
from taskq.worker.pool.inbox import Ask, Fate, Inbox, Left, VersionKey
from taskq.worker.runs.run import Run, StopReason

log = logging.getLogger("taskq.worker")
# After so many seconds it is asked again for what it has not given back.
_AGAIN: Final = 0.02


_ANSWER_TO = {Kind.LOADED: Kind.LOAD, Kind.INSPECTED: Kind.INSPECT}


class Known(NamedTuple):
    """A version in an executor: its index there, and what its runs need not be told again."""

    ref: int
    lane: Lane
    queue: str


_UNKNOWN: Final = Known(0, ALONE, "")


class Watcher(Protocol):
    """Who is told what a handle sees."""

    def began(self, handle: Handle) -> None:
        """A request began; the handle's deadline may be sooner now."""

    def finished(self, handle: Handle, run: Run, report: dict[str, Any]) -> None:
        """A run ended, or was handed back."""

    def logged(self, run: Run, lines: Any) -> None:
        """A run wrote lines; what they are is not checked yet."""

    def load_failed(self, handle: Handle, version: VersionKey, error: str) -> None:
        """A version could not be loaded there."""

    def gone(self, handle: Handle, returncode: int, left: list[Left]) -> None:
        """The executor is dead. ``left`` is what it had not answered, in order, and how far each was."""


class Handle(Inbox):
    """One executor.

    Args:
        process: it. ``watcher``: who is told. ``limits``: of each run, by the names that a LOAD has for them.

    Attributes:
        loaded: versions that it has, or has been asked to load.
        late: what it did last took too long, and it was killed. ``greeted``: it said hello. ``started``: when it was started, monotonic.
    """

    _numbers = 0

    def __init__(self, process: ExecutorProcess, watcher: Watcher, **limits: int) -> None:
        super().__init__()
        self.process, self.watcher, self.limits = process, watcher, limits
        self.loaded: dict[VersionKey, Known] = {}
        self.greeted = False
        self.draining = False
        self.late = False
        self.dead = False
        self.started = clock.monotonic()
        self._indices = 0
        self._asked, self._asked_at = 0, 0.0  # the last run that it was asked for, and when
        self._channel: Channel | None = None

    @classmethod
    async def start(cls, process: ExecutorProcess, watcher: Watcher, **limits: int) -> Handle:
        """A handle for a process that was just started."""
        handle = cls(process, watcher, **limits)
        handle._channel = await Channel.open(process.socket, handle._receive, handle._channel_ended)
        asyncio.get_running_loop().add_reader(process.pidfd, handle._process_ended)
        return handle

    # -- asking --------------------------------------------------------------------------------------------
    def run(self, run: Run) -> None:
        """Send a run; its version must have been loaded by `load` before.

        Raises:
            ProtocolError: it is too large for a frame.
        """
        if len(run.blob) > MAX_PARAMS:
            raise ProtocolError(f"the parameters have {len(run.blob)} bytes, an executor takes {MAX_PARAMS}")
        index, lane, queue = self.loaded.get((run.task, run.version), _UNKNOWN)
        run.lane = ALONE if run.solo else lane
        body: list[Any] = [index, run.id, run.blob]
        if run.attempt != 1 or run.limit is not None or run.cause is not None or run.queue != queue:
            body += (run.attempt, run.limit, run.queue, run.cause)
        Handle._numbers = run.number = number = Handle._numbers + 1
        if self._channel is not None:
            self._channel.send_run(number, body)
            if not self.runs:  # it waits for this one: what else it is sent in this turn can follow
                self._channel.flush()
        self.runs += 1
        self.enqueue(number, run)

    def load(self, version: VersionKey, body: dict[str, Any], timeout: float) -> Ask:
        """Have a version loaded, in order with everything else; its answer is in the `Ask`.

        Raises:
            ProtocolError: it is too large for a frame.
        """
        ask = Ask(Kind.LOAD, timeout, version)
        self._indices += 1
        self._send(Kind.LOAD, ask, {**body, **self.limits, "index": self._indices})
        lane = Lane(str(body.get("lane", "")), int(body.get("slots", 1)))
        self.loaded[version] = Known(self._indices, lane, str(body.get("queue", "")))
        return ask

    def inspect(self, source: bytes, file: str, timeout: float) -> Ask:
        """Have a file inspected: only ever in a throw-away executor.

        Raises:
            ProtocolError: it is too large for a frame.
        """
        ask = Ask(Kind.INSPECT, timeout)
        self._send(Kind.INSPECT, ask, {"source": source, "file": file})
        return ask

    def unload(self, version: VersionKey) -> None:
        """Have a version dropped."""
        known = self.loaded.pop(version, None)
        if known is not None:
            self._tell(Kind.UNLOAD, 0, {"index": known.ref})

    def take_back(self) -> None:
        """Ask for all runs that have not begun; an executor that was asked for them just now is left alone."""
        waiting, now = self.waiting, clock.monotonic()
        if not waiting or (waiting[-1] == self._asked and now - self._asked_at < _AGAIN):
            return
        self._asked, self._asked_at = waiting[-1], now
        for number in waiting:
            self._tell(Kind.YIELD, number, {})
        self._interrupt()

    def cancel(self, run: Run, why: StopReason) -> None:
        """Have a run stopped, begun or not; may be repeated."""
        if self.inbox.get(run.number) is run:
            run.stop = run.stop or why
            self._tell(Kind.CANCEL, run.number, {"why": run.stop if run.stop != "lost" else "cancel"})
            self._interrupt()

    def cancel_all(self, why: StopReason) -> None:
        """Have all runs in progress stopped; may be repeated."""
        for request in list(self.begun.values()):
            if isinstance(request, Run):
                self.cancel(request, why)

    def drain(self) -> None:
        """Have it finish what it has begun, hand back the rest and exit."""
        if not self.draining:
            self.draining = True
            self._tell(Kind.DRAIN, 0, {})
            self._interrupt()

    def kill(self) -> None:
        """SIGKILL it and everything below it. `Watcher.gone` follows."""
        self.process.kill()

    def _send(self, kind: Kind, ask: Ask, body: dict[str, Any]) -> None:
        Handle._numbers = number = Handle._numbers + 1
        self._tell(kind, number, body)
        self.enqueue(number, ask)

    def _tell(self, kind: Kind, number: int, body: dict[str, Any]) -> None:
        if self._channel is not None:
            self._channel.send(kind, number, body)

    def _interrupt(self) -> None:
        # The frame must be on its way before the signal. Before its hello an executor has no handler for it: the signal would end it.
        if self._channel is not None:
            self._channel.flush()
            if self.greeted:
                self.process.interrupt()

    def on_begun(self) -> None:
        self.watcher.began(self)

    # -- being told ----------------------------------------------------------------------------------------
    def _receive(self, messages: Sequence[Message]) -> None:
        now = clock.monotonic()
        try:
            for kind, number, body in messages:
                if kind is Kind.FINISHED:
                    self._on_finished(number, body, now)
                elif kind is Kind.LOG:
                    request = self.inbox.get(number)
                    if isinstance(request, Run):
                        self.watcher.logged(request, body.get("lines"))
                elif kind in _ANSWER_TO:
                    self._on_answer(kind, number, body)
                elif kind is Kind.HELLO and body.get("protocol") == PROTOCOL:
                    self.greeted = True
                else:
                    raise ProtocolError(f"{kind.name} with an unknown meaning")
        except ProtocolError as error:
            log.error("executor %d sent %s; it is replaced", self.process.pid, error)  # noqa: TRY400  # our own stack says nothing about it
            self.kill()
        self.advance(now)

    def _on_finished(self, number: int, body: Sequence[Any], now: float) -> None:
        run = self.inbox.get(number)
        if not isinstance(run, Run):
            return
        report = as_report(body)
        if run.stop is not None and len(self.begun) <= 1:
            self.process.kill_descendants()  # it was told to stop, and so was all that it started
        self.end(number, run)
        if not run.began and report["outcome"] != "released":
            run.began = now - (report["ms"] or 0.0) / 1000  # it began and ended between two looks of ours
        self.watcher.finished(self, run, report)

    def _on_answer(self, kind: Kind, number: int, body: dict[str, Any]) -> None:
        request = self.inbox.get(number)
        if not isinstance(request, Ask) or request.kind is not _ANSWER_TO[kind]:
            return
        self.end(number, request)
        if request.version is not None and not body.get("ok"):
            self.loaded.pop(request.version, None)
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
        left = self.fates(self.process.page)
        self.process.close()
        self.inbox.clear()
        self.begun.clear()
        self.runs = 0
        self.deadline = math.inf
        for request, fate in left:
            if isinstance(request, Ask) and not request.answer.done():
                request.answer.set_result({"ok": False, "died": returncode} if fate is Fate.CRASHED else None)
        self.watcher.gone(self, returncode, left)
