"""The messages between a supervisor and an executor, and their form on the wire: protocol 2. Pure: no I/O.

A frame is a length (4 bytes, big-endian) and a msgpack array of messages; a message is an array ``[kind, number, body]``. What is sent in
one turn of the supervisor's loop, and what an executor answers in one flush, shares a frame. ``number`` is given out by the supervisor,
unique on one socket and rising; an answer carries the number of what it answers. ``body`` is a map, but of the two messages that each run
costs it is a list.

To the executor:

======== ============================================================================= ===========================
kind     body                                                                          answered by
======== ============================================================================= ===========================
LOAD     index, task, version, digest, attribute, file, source (bytes), context,       LOADED
         convert, lane, slots, queue, timeout (seconds), max_result (bytes), max_log
         (lines), max_log_bytes
PROBE    the same; the executor exits with 0 after its answer                          LOADED
INSPECT  source (bytes), file                                                          INSPECTED
UNLOAD   index                                                                         nothing
RUN      [index, run, params] or [index, run, params, attempt, timeout, queue, cause]  LOG any number of times,
                                                                                       then one FINISHED
YIELD    nothing; ``number`` is a run's: hand it back if it has not begun              its FINISHED (released), or
                                                                                       nothing once it has begun
CANCEL   why (timeout, cancel, shutdown); ``number`` is a run's: stop it               its FINISHED
DRAIN    nothing: finish what has begun, hand back the rest, exit with 0               FINISHED of each run
======== ============================================================================= ===========================

``index`` is the supervisor's small number of a version in this executor: what is common to all runs of the version (who it is, its
limits, its queue, its timeout) travels once, with LOAD. ``params`` is the run's payload as it was stored, a blob of
`taskq.registry.codec`, or empty for no parameters. A short RUN means: first attempt, queue and timeout of the version, no cause.

Messages are begun in their order, except YIELD, CANCEL and DRAIN, which are acted upon when they are read. ``lane`` says what a run
of the version may be in progress beside: an empty one is alone in the executor, on its main thread; of every other lane up to
``slots`` runs are in progress at once, beside those of other lanes; ``async`` is the event loop's, every other name means threads.
The next message begins once it may (`taskq.worker.link.lanes`), and never before the one ahead of it. So *numbers begin in rising
order*, and one number says which have begun: the executor keeps it in memory that it shares with its supervisor
(`taskq.worker.link.page`).

An executor reads between runs; **SIGUSR1 makes it read at once**. So: write the frame, then send the signal. A frame that had to
wait in the writer's buffer is read at the next signal, so repeat CANCEL and the signal (about each second) until its FINISHED is there.

From the executor:

========= ============================================================================
kind      body
========= ============================================================================
HELLO     protocol, pid; number 0, the first message
LOADED    ok, ms, error (traceback or None)
INSPECTED what `taskq.registry.inspection.describe` returns
LOG       lines: list of [unix seconds, level, text], of a record with fields also {logger, fields}
FINISHED  [ms, result] of a run that succeeded, else [ms, None, {outcome, reason, error, traceback, …}]
========= ============================================================================

``outcome`` and ``reason``: ``succeeded`` (no reason; ``result`` is a blob of `taskq.registry.codec`) · ``failed`` (``error``,
``timeout``, ``cancelled``, ``result_too_large``, ``result_not_serialisable``, ``invalid_parameters``) · ``released`` (to be run again
without a burned attempt: ``not_loaded``, or None when it was handed back or told to stop with ``why`` shutdown) · ``retry`` (the task
asked for another attempt in ``delay`` seconds; None: as its policy says). ``error`` is the exception in one line, ``traceback`` the
whole of it, ``kinds`` the names of its class and of that one's bases, bare and qualified. ``level`` is a name of `logging`'s, or STDOUT
or STDERR.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgpack

PROTOCOL: Final = 2
MAX_FRAME: Final = 64 * 1024 * 1024
# What a run's parameters may have, so that with all else they fit a frame.
MAX_PARAMS: Final = MAX_FRAME - 64 * 1024
_LENGTH: Final = struct.Struct(">I")
_PARTS: Final = 3
# Beyond this the packer is thrown away with its buffer, which never shrinks.
_LARGE: Final = 1 << 20
# What an executor says of a run's duration is believed up to here, in milliseconds.
_LONGEST: Final = 1e9


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


_new = tuple.__new__  # a named tuple without its constructor, which takes longer than all else here
_KINDS: Final = {int(kind): kind for kind in Kind}
# The type of each kind's body, by its number.
_BODIES: Final = {int(kind): list if kind in (Kind.RUN, Kind.FINISHED) else dict for kind in Kind}


class ProtocolError(Exception):
    """The other side sent, or was to be sent, what is no message: the link can't be used any further."""


class Message(NamedTuple):
    """One message: what it says, which number it has or answers, and its fields."""

    kind: Kind
    number: int
    body: Any


class Order(NamedTuple):
    """The body of a RUN. ``ref`` is the index of its version; what is None is what the version's LOAD said."""

    ref: int
    run: str
    params: bytes = b""
    attempt: int = 1
    timeout: float | None = None
    queue: str | None = None
    cause: str | None = None


Report = dict[str, Any]
"""How a run ended: ``outcome``, ``reason``, ``result``, ``error``, ``traceback``, ``ms``, and what else an outcome has."""


def as_finished(report: Report) -> list[Any]:
    """The body of the FINISHED of a run that ended like that."""
    if report["outcome"] == "succeeded":
        return [report["ms"], report["result"]]
    return [report["ms"], None, {name: value for name, value in report.items() if name not in ("ms", "result")}]


def as_report(body: Sequence[Any]) -> Report:
    """What the body of a FINISHED says; ``ms`` is None where it can't be.

    Raises:
        ProtocolError: it is none.
    """
    if len(body) == 2:
        return {"outcome": "succeeded", "reason": None, "result": body[1], "ms": _believed(body[0])}
    if len(body) == _PARTS and type(body[2]) is dict:
        return {"result": None, **body[2], "ms": _believed(body[0])}
    raise ProtocolError("a malformed message FINISHED")


def _believed(milliseconds: Any) -> float | None:
    return milliseconds if isinstance(milliseconds, int | float) and 0 <= milliseconds < _LONGEST else None


class Encoder:
    """Turns messages into frames."""

    def __init__(self) -> None:
        self._packer = msgpack.Packer(datetime=True)

    def frames(self, messages: Sequence[Message]) -> bytes:
        """Messages as the bytes of one frame, or of as many as their size asks for.

        Text that is no valid Unicode (lone surrogates, as a task may print them) is sent with backslash escapes.

        Raises:
            ProtocolError: a message can't be serialised, or exceeds `MAX_FRAME` by itself.
        """
        payload = self._payload(messages)
        if len(payload) <= MAX_FRAME:
            return _LENGTH.pack(len(payload)) + payload
        if len(messages) == 1:
            ((kind, number, _),) = messages
            raise ProtocolError(f"{kind.name} {number} has {len(payload)} bytes, a frame may have {MAX_FRAME}")
        half = len(messages) // 2
        return self.frames(messages[:half]) + self.frames(messages[half:])

    def _payload(self, messages: Sequence[Message]) -> bytes:
        try:
            payload = bytes(self._packer.pack(messages))
        except UnicodeEncodeError:
            return bytes(msgpack.packb(messages, datetime=True, unicode_errors="backslashreplace"))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            self._packer = msgpack.Packer(datetime=True)
            names = ", ".join(f"{kind.name} {number}" for kind, number, _ in messages)
            raise ProtocolError(f"{names} can't be serialised: {error}") from error
        if len(payload) > _LARGE:
            self._packer = msgpack.Packer(datetime=True)
        return payload


def encode(kind: Kind, number: int, body: Any) -> bytes:
    """One message as the bytes of one frame.

    Raises:
        ProtocolError: it can't be serialised, or exceeds `MAX_FRAME`.
    """
    return Encoder().frames((Message(kind, number, body),))


class Decoder:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._wanted = _LENGTH.size  # how many bytes complete the frame that `_rest` begins

    def feed(self, data: bytes) -> list[Message]:
        """The messages of the frames that ``data`` completes, in order; an incomplete frame is kept for the next call.

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
            messages += _messages(data[start + _LENGTH.size : end])
            start = end
        self._rest = bytearray(data[start:]) if start < available else bytearray()
        return messages


def _messages(payload: bytes) -> list[Message]:
    try:
        frame = msgpack.unpackb(payload, timestamp=3)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise ProtocolError(f"a frame that is no msgpack: {error}") from error
    if type(frame) is not list:
        raise ProtocolError("a frame that is no array of messages")
    return [_message(parts) for parts in frame]


def _message(parts: Any) -> Message:
    if type(parts) is not list or len(parts) != _PARTS:
        raise ProtocolError("a message that is no array of kind, number and body")
    kind, number, body = parts
    if type(kind) is not int or kind not in _KINDS:
        raise ProtocolError(f"a message of unknown kind {kind!r:.80}")
    if type(number) is not int or number < 0 or type(body) is not _BODIES[kind]:
        raise ProtocolError(f"a malformed message {_KINDS[kind].name}")
    return _new(Message, (_KINDS[kind], number, body))
