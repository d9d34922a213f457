"""The messages between a supervisor and an executor, and their form on the wire. Pure: no I/O.

A frame is a length (4 bytes, big-endian) and a msgpack array ``[kind, number, body]``. ``number`` is given out by the
supervisor, unique on one socket; an answer carries the number of what it answers. ``body`` is a map.

To the executor:

======== ============================================================================= ===========================
kind     body                                                                          answered by
======== ============================================================================= ===========================
LOAD     task, version, digest, attribute, file, source (bytes), context, convert      LOADED
PROBE    the same; the executor exits with 0 after its answer                          LOADED
INSPECT  source (bytes), file                                                          INSPECTED
UNLOAD   task, version                                                                 nothing
RUN      task, version, run, attempt, queue, cause, params, timeout (seconds),         LOG any number of times,
         max_result (bytes), and optionally max_log (lines, default 10,000)            then one FINISHED
YIELD    nothing; ``number`` is a run's: hand it back if it has not begun              its FINISHED (released), or
                                                                                       nothing once it has begun
CANCEL   why (timeout, cancel, shutdown); ``number`` is a run's: stop it               its FINISHED
DRAIN    nothing: finish what has begun, hand back the rest, exit with 0               FINISHED of each run
======== ============================================================================= ===========================

Frames are executed in order, except YIELD, CANCEL and DRAIN, which are acted upon when they are read. An executor reads
between runs; **SIGUSR1 makes it read at once**. So: write the frame, then send the signal. A frame that had to wait in the
writer's buffer is read at the next signal, so repeat CANCEL and the signal (about each second) until its FINISHED is there.

From the executor:

========= ============================================================================
kind      body
========= ============================================================================
HELLO     protocol, pid; number 0, the first frame
LOADED    ok, ms, error (traceback or None)
INSPECTED what `taskq.registry.inspection.describe` returns
LOG       lines: list of [unix seconds, level, text]
FINISHED  outcome, reason, result, error, traceback, ms
========= ============================================================================

``outcome`` and ``reason``: ``succeeded`` (no reason; ``result`` is a blob of `taskq.registry.codec`) · ``failed`` (``error``,
``timeout``, ``cancelled``, ``result_too_large``, ``result_not_serialisable``, ``invalid_parameters``) · ``released`` (to be run again
without a burned attempt: ``not_loaded``, or None when it was handed back or told to stop with ``why`` shutdown). ``error`` is the
exception in one line, ``traceback`` the whole of it. ``level`` is a name of `logging`'s, or STDOUT or STDERR.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgpack

PROTOCOL: Final = 1
MAX_FRAME: Final = 64 * 1024 * 1024
_LENGTH: Final = struct.Struct(">I")
_PARTS: Final = 3


class Kind(IntEnum):
    """What a message says; see the tables of this module."""

    LOAD = 1
    PROBE = 2
    INSPECT = 3
    UNLOAD = 4
    RUN = 5
    YIELD = 6
    CANCEL = 7
    DRAIN = 8
    HELLO = 32
    LOADED = 33
    INSPECTED = 34
    LOG = 35
    FINISHED = 36


_KINDS: Final = {int(kind): kind for kind in Kind}


class ProtocolError(Exception):
    """The other side sent, or was to be sent, what is no message: the link can't be used any further."""


class Message(NamedTuple):
    """One message: what it says, which number it has or answers, and its fields."""

    kind: Kind
    number: int
    body: dict[str, Any]


def encode(kind: Kind, number: int, body: dict[str, Any]) -> bytes:
    """A message as the bytes of one frame.

    Text that is no valid Unicode (lone surrogates, as a task may print them) is sent with backslash escapes.

    Raises:
        ProtocolError: the body can't be serialised, or the frame exceeds `MAX_FRAME`.
    """
    try:
        payload = _pack([kind, number, body])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"{kind.name} {number} can't be serialised: {error}") from error
    if len(payload) > MAX_FRAME:
        raise ProtocolError(f"{kind.name} {number} has {len(payload)} bytes, a frame may have {MAX_FRAME}")
    return _LENGTH.pack(len(payload)) + payload


def _pack(message: list[Any]) -> bytes:
    try:
        return bytes(msgpack.packb(message, datetime=True))
    except UnicodeEncodeError:
        return bytes(msgpack.packb(message, datetime=True, unicode_errors="backslashreplace"))


class Decoder:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._wanted = _LENGTH.size  # how many bytes complete the frame that `_rest` begins

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes, in order; an incomplete one is kept for the next call.

        Raises:
            ProtocolError: what was received is no message, of an unknown kind, or larger than `MAX_FRAME`.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:  # a large frame in many pieces is copied once, not once a piece
                return []
            data = bytes(self._rest)
        messages: list[Message] = []
        start, available = 0, len(data)
        self._wanted = _LENGTH.size
        while available - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > MAX_FRAME:
                raise ProtocolError(f"a frame of {length} bytes, allowed are {MAX_FRAME}")
            end = start + _LENGTH.size + length
            if end > available:
                self._wanted += length
                break
            messages.append(_message(data[start + _LENGTH.size : end]))
            start = end
        self._rest = bytearray(data[start:])
        return messages


def _message(payload: bytes) -> Message:
    try:
        parts = msgpack.unpackb(payload, timestamp=3)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise ProtocolError(f"a frame that is no msgpack: {error}") from error
    if not isinstance(parts, list) or len(parts) != _PARTS:
        raise ProtocolError("a frame that is no array of kind, number and body")
    kind, number, body = parts
    if type(kind) is not int or kind not in _KINDS:
        raise ProtocolError(f"a message of unknown kind {kind!r:.80}")
    if type(number) is not int or number < 0 or type(body) is not dict:
        raise ProtocolError(f"a malformed message {_KINDS[kind].name}")
    return Message(_KINDS[kind], number, body)
