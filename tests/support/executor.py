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

from taskq.worker.link.protocol import Decoder, Kind, Message, encode

BODY = {"run": "r", "attempt": 1, "queue": "default", "cause": None, "timeout": 30.0, "max_result": 1 << 20}


class DrivenExecutor:
    """An executor process and the supervisor's end of its link."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.socket, theirs = socket.socketpair()
        self.started = time.monotonic()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "taskq.worker.executor", "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={"PATH": os.environ["PATH"], **(environ or {})},
            )
        self._decoder, self._received, self._numbers = Decoder(), deque[Message](), 0
        self._stderr: str | None = None
        self.hello = self.expect(Kind.HELLO)
        self.ready_after = time.monotonic() - self.started

    @property
    def pid(self) -> int:
        return self.process.pid

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def send(self, kind: Kind, number: int | None = None, *, interrupt: bool = False, **body: Any) -> int:
        """Write a frame, then SIGUSR1 if ``interrupt``; returns the frame's number."""
        number = self.number() if number is None else number
        self.socket.sendall(encode(kind, number, body))
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
        order = {"attribute": task, "file": "tasks.py", "context": None, "convert": False, **more}
        number = self.send(kind, task=task, version=version, digest=digest, source=data, **order)
        return self.expect(Kind.LOADED, number)

    def start(self, task: str = "t", version: int = 1, params: Mapping[str, Any] | None = None, **more: Any) -> int:
        """Send a RUN; returns its number."""
        return self.send(Kind.RUN, task=task, version=version, params=dict(params or {}), **{**BODY, **more})

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
                return {**message.body, "lines": lines}
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
        self._stderr = str(self.process.communicate()[1].decode())
        return self._stderr
