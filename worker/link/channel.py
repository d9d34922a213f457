"""`Channel`: the supervisor's end of a link, on asyncio.

Frames that are written in one turn of the loop leave together; what arrives is decoded and handed over in the step in which
it was read. The other end is not trusted: what is no message ends the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from taskq.worker.link.protocol import Decoder, Encoder, Kind, Message, ProtocolError

log = logging.getLogger("taskq.worker")
_READ = 1 << 18


class Channel(asyncio.Protocol):
    """Sends and receives messages over a connected socket.

    Args:
        receive: is given all messages that one read completed, in order.
        lost: is called once when the channel has ended: the other side closed, or sent garbage.
    """

    def __init__(self, receive: Callable[[Sequence[Message]], None], lost: Callable[[], None]) -> None:
        self._receive, self._lost = receive, lost
        self._decoder, self._encoder = Decoder(), Encoder()
        self._transport: asyncio.WriteTransport | None = None
        self._runs: list[Message] = []  # they leave as one frame
        self._out: list[bytes] = []  # what goes ahead of them
        self._loop = asyncio.get_running_loop()
        self.ended = False

    @classmethod
    async def open(cls, sock: socket.socket, receive: Callable[[Sequence[Message]], None], lost: Callable[[], None]) -> Channel:
        """A channel over ``sock``, which it owns from now on."""
        _, channel = await asyncio.get_running_loop().create_connection(lambda: cls(receive, lost), sock=sock)
        return channel

    def send(self, kind: Kind, number: int, body: dict[str, Any]) -> None:
        """Queue a message; it leaves at the end of this turn of the loop. After the end it goes nowhere.

        Raises:
            ProtocolError: it can't be encoded, or is too large.
        """
        frame = self._encoder.frames((Message(kind, number, body),))
        if self.ended:
            return
        self._flush_soon()
        self._close_frame()
        self._out.append(frame)

    def send_run(self, number: int, body: list[Any]) -> None:
        """Queue a RUN, as `send` does; those that follow each other share a frame. Its parameters must not exceed `MAX_PARAMS`."""
        if not self.ended:
            self._flush_soon()
            self._runs.append(Message(Kind.RUN, number, body))

    def _flush_soon(self) -> None:
        if not self._out and not self._runs:
            self._loop.call_soon(self.flush)

    def _close_frame(self) -> None:
        if self._runs:
            runs, self._runs = self._runs, []
            self._out.append(self._encoder.frames(runs))

    def flush(self) -> None:
        """Write what is queued now."""
        self._close_frame()
        if self._out and self._transport is not None and not self.ended:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._transport.write(data)

    def finish(self, sock: socket.socket) -> None:
        """The other side is dead: take in what it had sent, and end. ``sock`` is the one that this was opened over."""
        with contextlib.suppress(OSError):
            while not self.ended and (data := sock.recv(_READ)):
                self.data_received(data)
        self.close()

    def close(self) -> None:
        """End the channel at once; what is not written is dropped."""
        self.ended = True
        self._drop()
        if self._transport is not None:
            self._transport.abort()

    def _drop(self) -> None:
        self._runs.clear()
        self._out.clear()

    # -- asyncio.Protocol ----------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport can write

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._decoder.feed(data)
        except ProtocolError as error:
            log.error("an executor sent what is no message (%s); it is replaced", error)  # noqa: TRY400  # our own stack says nothing about it
            self.close()
            return
        if messages and not self.ended:
            self._receive(messages)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.ended = True
        self._drop()
        self._lost()
