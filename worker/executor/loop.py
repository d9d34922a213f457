"""The executor's loop: take a message, do what it says, answer; and read and write in large pieces."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from taskq.registry import clock
from taskq.worker.executor.channel import FLUSH_AFTER, Channel
from taskq.worker.executor.flusher import Flusher
from taskq.worker.executor.gate import Gate
from taskq.worker.executor.inbox import Inbox
from taskq.worker.executor.output import RunHandler, RunLog, Streams
from taskq.worker.executor.process import Habits, install_signals
from taskq.worker.executor.running import execute, outcome, told
from taskq.worker.executor.together.crew import Crew
from taskq.worker.executor.versions import Versions
from taskq.worker.link.lanes import ASYNC
from taskq.worker.link.page import Page
from taskq.worker.link.protocol import PROTOCOL, Kind, Message, Report, as_finished

_REASONS: Final = {"cancel": ("failed", "cancelled")}  # why a run never began → its outcome; every other is handed back


class Executor:
    """Works for the supervisor at the other end of a socket until that drains it or goes away."""

    def __init__(self, sock: socket.socket, page: Page) -> None:
        """
        Args:
            sock: our end of the socketpair. ``page``: where the supervisor sees what has begun.
        """
        self._begun = page.cells
        self._gate = Gate()
        self._channel = Channel(sock, self._gate)
        self._crew = Crew(sock, self._gate, readable=self._readable, step=self._step, report=self._report)
        self._inbox = Inbox(self._gate, self._crew, self._hand_back)
        self._flusher = Flusher(self._next_due, self._flush)
        self._log = RunLog(self._channel, self._gate, self._flusher.ring)
        self._versions = Versions()
        self._streams = Streams(self._log, self._gate)
        self._work: dict[Kind, Callable[[Message], None]] = {
            Kind.RUN: self._run,
            Kind.LOAD: self._load,
            Kind.PROBE: self._probe,
            Kind.INSPECT: self._inspect,
            Kind.UNLOAD: lambda message: self._versions.unload(message.body["index"]),
        }

    def serve(self) -> None:
        """Work until drained; then end the process."""
        self._gate.look = self._look
        install_signals(self._gate.on_signal, self._forked)
        self._habits = Habits()
        self._streams.install()
        logging.basicConfig(level=logging.INFO, handlers=[RunHandler(self._log)])
        self._flusher.start()
        gc.freeze()  # what is here now stays: the collector need not look at it again and again
        self._channel.post(Kind.HELLO, 0, {"protocol": PROTOCOL, "pid": os.getpid()})
        gate, inbox = self._gate, self._inbox
        while inbox or gate.shared or not inbox.draining:
            if gate.shared:
                if not self._begin_next():
                    self._wait()
            elif inbox:
                self._do(inbox.take())
            else:
                self._wait()
            if gate.forgotten:
                os._exit(0)  # a child that task code forked has come back here: it must do nothing of what waits for its parent
            if self._channel.due:
                self._channel.flush()
                self._read()
        self._versions.unload_all()
        self._channel.flush()
        os._exit(0)  # no exit handlers, no waiting for threads that task code left behind

    def _read(self) -> None:
        """Take in what has arrived. The signal handler reads too: what it read in the midst of this would overtake what is read here."""
        with self._gate:
            self._inbox.add(self._channel.poll())

    # -- runs in progress together -------------------------------------------------------------------------
    def _begin_next(self, *, on_loop: bool = False) -> bool:
        """Begin the next message if it may begin; returns whether it did."""
        with self._gate:  # else the signal handler could take it away between the look and the step, or stop what is only half begun
            if not self._may_begin(on_loop=on_loop):
                return False
            message = self._inbox.take()
            if message.kind is Kind.RUN:
                self._do(message)
                return True
        self._do(message)  # it may take its time: meanwhile what is in progress can be told to stop
        return True

    def _may_begin(self, *, on_loop: bool = False) -> bool:
        """Whether the next message may begin beside what is in progress; ``on_loop``: without stopping the loop."""
        head = self._inbox.head
        if head is None:
            return False
        if head.kind is not Kind.RUN:
            return not on_loop
        loaded = self._versions.get(head.body[0])
        if loaded is None:
            return True
        return self._crew.lanes.free(loaded.lane) and not (on_loop and not loaded.lane.name)

    def _wait(self) -> None:
        """Nothing can be begun now: wait for messages, or for what is in progress."""
        self._channel.flush()
        if not self._crew:
            self._inbox.add(self._channel.receive())
            return
        if self._crew.wait():
            self._read()
        self._crew.settle()
        if not self._crew:
            self._tidy()

    def _readable(self) -> None:
        """On the loop: there are messages."""
        self._read()
        self._step()

    def _step(self) -> None:
        """On the loop: begin what may begin there, and leave it where that is all, or something needs the main thread."""
        if self._gate.forgotten:
            os._exit(0)  # a child that a coroutine forked has come back here
        self._crew.settle()
        while self._begin_next(on_loop=True):
            pass
        self._channel.flush()
        if not self._crew.lanes.count(ASYNC) or self._may_begin():
            self._crew.pause()

    def _report(self, number: int, ended: Report) -> None:
        """A run that was in progress beside others has ended; on whatever thread it was."""
        if self._gate.forgotten:
            os._exit(0)
        self._streams.finish(number)
        self._log.finish(number)
        self._channel.post(Kind.FINISHED, number, as_finished(ended))
        self._flusher.ring(self._channel.since + FLUSH_AFTER)

    def _tidy(self) -> None:
        self._streams.install()  # runs may have put something else there
        self._habits.restore()

    # -- messages ------------------------------------------------------------------------------------------
    def _do(self, message: Message) -> None:
        work = self._work.get(message.kind)
        if work is None:
            self._channel.refuse(f"{message.kind.name} is no message to an executor")
        self._begun[0] = message.number or self._begun[0]  # an UNLOAD has no number: nobody waits for it
        work(message)

    def _run(self, message: Message) -> None:
        _, number, order = message
        loaded = self._versions.get(order[0])
        if loaded is None:
            self._channel.post(Kind.FINISHED, number, as_finished(outcome("released", "not_loaded")))
            return
        if self._channel.waiting:  # answers of earlier runs must not wait for the end of this one
            self._flusher.ring(self._channel.since + FLUSH_AFTER)
        self._log.begin(loaded.max_log, loaded.max_log_bytes)
        if loaded.lane.name:
            with self._gate:
                self._crew.begin(number, order, loaded)
            return
        ended = execute(number, order, loaded, self._gate)
        self._tidy()
        self._streams.finish(number)
        self._log.finish(number)
        self._channel.post(Kind.FINISHED, number, as_finished(ended))
        self._begun[1] = number

    def _load(self, message: Message) -> None:
        started = clock.monotonic()
        error = None
        try:
            self._versions.load(message.body)
        except BaseException as raised:  # noqa: BLE001  # whatever a module raises, SystemExit too, is the answer to the LOAD
            error = told(raised)
        ms = round((clock.monotonic() - started) * 1000, 3)
        self._channel.post(Kind.LOADED, message.number, {"ok": error is None, "ms": ms, "error": error})
        self._begun[1] = message.number

    def _probe(self, message: Message) -> None:
        self._load(message)
        self._channel.flush()
        os._exit(0)

    def _inspect(self, message: Message) -> None:
        try:
            # By name and here: it imports pydantic, and only throw-away executors inspect.
            inspection: Any = importlib.import_module("taskq.registry.inspection")
            found = inspection.describe(message.body["source"], message.body["file"])
        except BaseException as raised:  # noqa: BLE001  # whatever a module raises, SystemExit too, is the answer
            found = {"tasks": [], "error": told(raised), "missing": None}
        self._channel.post(Kind.INSPECTED, message.number, found)

    def _look(self) -> None:
        try:
            self._inbox.add(self._channel.poll())
            self._crew.ring()
        except (RecursionError, MemoryError) as error:  # what was read may be lost, and a run with it
            self._channel.refuse(f"the task left no room to read a message: {type(error).__name__}")

    def _hand_back(self, number: int, why: str) -> None:
        self._channel.post(Kind.FINISHED, number, as_finished(outcome(*_REASONS.get(why, ("released", None)))))
        self._flusher.ring(self._channel.since + FLUSH_AFTER)

    def _next_due(self) -> float | None:
        lines = self._log.due()
        frames = self._channel.since + FLUSH_AFTER if self._channel.waiting else None
        if lines is None or frames is None:
            return frames if lines is None else lines
        return min(lines, frames)

    def _flush(self, now: float) -> None:
        lines = self._log.due()
        if lines is not None and lines <= now:
            self._log.send()
        self._channel.flush()

    def _forked(self) -> None:
        """In a child that task code forked: it is no executor, and what it prints is nobody's log."""
        self._begun = memoryview(bytearray(16)).cast("Q")  # the page says what the parent does
        self._gate.forget()
        self._log.forget()
        self._channel.forget()
