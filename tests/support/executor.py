"""Drives a real executor process over its socketpair, as a supervisor does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from taskq.registry import codec
from taskq.worker.link.page import Page
from taskq.worker.link.protocol import Decoder, Kind, Message, as_report, encode

COMMON = {
    "attribute": None,
    "file": "tasks.py",
    "context": None,
    "convert": False,
    "queue": "default",
    "timeout": 30.0,
    "max_result": 1 << 20,
}


class DrivenExecutor:
    """An executor process and the supervisor's end of its link."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.socket, theirs = socket.socketpair()
        self.started = time.monotonic()
        self.page, memory = Page.make()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "taskq.worker.executor", str(theirs.fileno()), str(memory)],
                pass_fds=[theirs.fileno(), memory],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"PATH": os.environ["PATH"], **(environ or {})},
            )
        os.close(memory)
        self._decoder, self._received, self._numbers = Decoder(), deque[Message](), 0
        self._indices: dict[tuple[str, int], int] = {}
        self._stderr: str | None = None
        self.hello = self.expect(Kind.HELLO)
        self.ready_after = time.monotonic() - self.started

    @property
    def pid(self) -> int:
        return self.process.pid

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def index(self, task: str, version: int) -> int:
        """What the executor knows a version by."""
        return self._indices.setdefault((task, version), len(self._indices) + 1)

    def send(self, kind: Kind, number: int | None = None, *, interrupt: bool = False, order: list[Any] | None = None, **body: Any) -> int:
        """Write a frame, then SIGUSR1 if ``interrupt``; returns the frame's number."""
        number = self.number() if number is None else number
        if "task" in body:
            body["index"] = self.index(body["task"], body["version"])
        self.socket.sendall(encode(kind, number, body if order is None else order))
        if interrupt:
            self.process.send_signal(signal.SIGUSR1)
        return number

    def receive(self, timeout: float = 10.0) -> Message:
        """The next message of the executor.

        Raises:
            TimeoutError: none came. EOFError: it closed the link.
        """
        self.socket.settimeout(timeout)
        while not self._received:
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError("the executor closed the link")
            self._received.extend(self._decoder.feed(data))
        return self._received.popleft()

    def expect(self, kind: Kind, number: int = 0, timeout: float = 10.0) -> dict[str, Any]:
        """The body of the next message, which must be this one; LOG messages before it are passed over unless asked for."""
        message = self.receive(timeout)
        while message.kind is Kind.LOG and kind is not Kind.LOG:
            message = self.receive(timeout)
        assert (message.kind, message.number) == (kind, number), message
        return message.body

    def load(self, source: str, task: str = "t", version: int = 1, kind: Kind = Kind.LOAD, **more: Any) -> dict[str, Any]:
        """Load the task of a source; returns the answer."""
        data = source.encode()
        digest = hashlib.sha256(data).hexdigest()
        body = {**COMMON, "attribute": task, **more}
        number = self.send(kind, task=task, version=version, digest=digest, source=data, **body)
        return self.expect(Kind.LOADED, number)

    def start(self, task: str = "t", version: int = 1, params: Mapping[str, Any] | None = None, *, run: str = "r", **more: Any) -> int:
        """Send a RUN, a short one unless ``more`` says what of it is not as in COMMON; returns its number."""
        order = [self.index(task, version), run, codec.dumps(dict(params)) if params else b""]
        if more:
            order += [more.get("attempt", 1), more.get("timeout"), more.get("queue"), more.get("cause")]
        return self.send(Kind.RUN, order=order)

    def run(self, task: str = "t", version: int = 1, params: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Run to the end; returns the outcome, its log lines under ``lines``."""
        number = self.start(task, version, params, **more)
        return self.finished(number)

    def finished(self, number: int, timeout: float = 10.0) -> dict[str, Any]:
        """The outcome of a run, its log lines (without their times) under ``lines``."""
        lines: list[list[str]] = []
        while True:
            message = self.receive(timeout)
            assert message.number == number, message
            if message.kind is Kind.FINISHED:
                return {**as_report(message.body), "lines": lines}
            lines += [line[1:] for line in message.body["lines"]]

    def first_line(self, number: int) -> str:
        """The next log line of a run that is going on."""
        return str(self.expect(Kind.LOG, number)["lines"][0][2])

    def close(self) -> str:
        """End it as a dying supervisor does; returns what it wrote to stderr, also when called again."""
        if self._stderr is not None:
            return self._stderr
        self.socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.page.close()
        self._stderr = str(self.process.communicate()[1].decode())
        return self._stderr
