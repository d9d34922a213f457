"""The executor's end of the socketpair: messages in, messages out, many in a frame.

Messages to send are queued without a lock (a deque's append is atomic, and the signal handler and finalisers queue too) and written
by whoever flushes, as one frame: the loop, a task that logs much, or the flusher thread. One lock makes that one at a time; on the main
thread the gate is held meanwhile, so that no stop cuts a frame in two.

When the supervisor is gone (end-of-file, broken pipe) there is nobody to work for: the process ends at once.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from typing import Any, Final, NoReturn

from taskq.registry import clock
from taskq.worker.executor.gate import Gate
from taskq.worker.link.protocol import Decoder, Encoder, Kind, Message, ProtocolError

READ_SIZE: Final = 256 * 1024
FLUSH_MESSAGES: Final = 64
FLUSH_AFTER: Final = 0.002
_message = tuple.__new__  # a named tuple without its constructor, which takes longer
EXIT_PROTOCOL: Final = 76  # EX_PROTOCOL of sysexits.h


class Channel:
    """Reads and writes messages; ends the process when the other side has gone."""

    def __init__(self, sock: socket.socket, gate: Gate) -> None:
        """
        Args:
            sock: our end, blocking.
            gate: held while a frame is being written.
        """
        self._socket = sock
        self._gate = gate
        self._decoder, self._encoder = Decoder(), Encoder()
        self._lock = threading.RLock()  # re-entrant: a finaliser may print while we are writing
        self._writing = False
        self._messages: deque[Message] = deque()
        self.since = 0.0  # when the oldest waiting message was posted, monotonic

    @property
    def waiting(self) -> int:
        """How many messages wait to be written."""
        return len(self._messages)

    @property
    def due(self) -> bool:
        """Whether enough messages wait, or the oldest for long enough, to be written now."""
        waiting = len(self._messages)
        return waiting >= FLUSH_MESSAGES or (waiting > 0 and clock.monotonic() - self.since >= FLUSH_AFTER)

    def post(self, kind: Kind, number: int, body: Any) -> None:
        """Queue a message; it leaves with the next `flush`. Its body must not be changed any more."""
        if not self._messages:
            self.since = clock.monotonic()
        self._messages.append(_message(Message, (kind, number, body)))

    def flush(self) -> None:
        """Write all that waits.

        Raises:
            ProtocolError: a message can't be sent: too large, or not serialisable.
        """
        if not self._messages:
            return
        with self._gate, self._lock:
            if self._writing:
                return  # called by a finaliser in the midst of a write; the loop below takes its messages along
            self._writing = True
            try:
                while self._messages:
                    self._send(self._encoder.frames([self._messages.popleft() for _ in range(len(self._messages))]))
            finally:
                self._writing = False

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError:
            self._gone()

    def receive(self) -> list[Message]:
        """The next messages; waits until there are some."""
        while True:
            try:
                data = self._socket.recv(READ_SIZE)
            except OSError:
                self._gone()
            messages = self._decode(data)
            if messages:
                return messages

    def poll(self) -> list[Message]:
        """The messages that are there already; does not wait."""
        messages: list[Message] = []
        while True:
            try:
                data = self._socket.recv(READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return messages
            except OSError:
                self._gone()
            messages += self._decode(data)
            if len(data) < READ_SIZE:
                return messages

    def _decode(self, data: bytes) -> list[Message]:
        if not data:
            self._gone()
        try:
            return self._decoder.feed(data)
        except ProtocolError as error:
            self.refuse(str(error))

    def forget(self) -> None:
        """In a forked child: it must neither read nor write what belongs to its parent."""
        self._socket.close()
        self._messages.clear()
        self._lock, self._writing = threading.RLock(), False

    @staticmethod
    def refuse(why: str) -> NoReturn:
        """End the process: the link can't be used any further."""
        os.write(2, f"executor {os.getpid()}: {why}\n".encode(errors="replace"))
        os._exit(EXIT_PROTOCOL)

    @staticmethod
    def _gone() -> NoReturn:
        os._exit(0)  # no exit handlers, no waiting for threads that task code left behind
