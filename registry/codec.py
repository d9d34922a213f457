"""msgpack with a format number: how every record, payload and result is stored and sent.

A blob is ``0xC1, format, msgpack…``. 0xC1 is the one byte that msgpack never uses, so that a blob can't be mistaken for
bare msgpack, nor for a pickle or JSON. Reading never executes anything. Standard library and msgpack only: executors
import this module.

Format 1 is msgpack's own types. Format 2 holds values of the extension types of `taskq.registry.kinds` as well; only such a blob
has it, so that an earlier release reads all others, and refuses this one rather than guess.
"""

from __future__ import annotations

import importlib
import sys
from itertools import islice
from typing import Any, Final

import msgpack

from taskq.registry.errors import FormatUnknown, InvalidInput

MAGIC: Final = 0xC1
PLAIN: Final = 1
EXTENDED: Final = 2
_HEADS: Final = {number: bytes((MAGIC, number)) for number in (PLAIN, EXTENDED)}
_HEAD: Final = _HEADS[PLAIN]
_CANT: Final = (TypeError, ValueError, OverflowError, RecursionError, UnicodeError)
# OverflowError: msgpack's own timestamp, of a year that Python has not.
_DAMAGED: Final = (ValueError, OverflowError, msgpack.exceptions.UnpackException, RecursionError)
_LOOKS: Final = 2_000
_SIZED: Final = (str, bytes, bytearray)
_CONTAINERS: Final = (list, tuple, dict)


def dumps(value: Any) -> bytes:
    """``value`` as a blob.

    Args:
        value: None, bool, int (64 bit), float, str, bytes, list, tuple (becomes a list), dict, datetime, date, time, timedelta,
            Decimal, UUID; a path or an enum's member (become their text and value), a dataclass or pydantic model (become a dict).

    Raises:
        InvalidInput: the value holds something that msgpack can't carry, is self-referential or nested too deeply.
        Exception: what methods of the value's own classes raise.
    """
    try:
        return _HEAD + bytes(msgpack.packb(value, use_bin_type=True))
    except TypeError:
        return _extended(value)
    except _CANT as error:
        raise InvalidInput(f"not serialisable: {error}") from error


def _extended(value: Any) -> bytes:
    packer = _kinds().Packer()
    try:
        packed: bytes = packer.pack(value)
    except _CANT as error:
        raise InvalidInput(f"not serialisable: {error}") from error
    blob = _HEADS[EXTENDED if packer.extended else PLAIN] + packed
    try:
        loads(blob)
    except FormatUnknown as error:  # a dataclass as a key of a dict
        raise InvalidInput(f"not serialisable: it could not be read again: {error}") from error
    return blob


def loads(blob: bytes) -> Any:
    """The value of a blob.

    Raises:
        FormatUnknown: not a blob of ours, of another format, or damaged.
    """
    if len(blob) < 3 or blob[0] != MAGIC:
        raise FormatUnknown("the stored value is not taskq's msgpack form")
    number = blob[1]
    if number not in _HEADS:
        raise FormatUnknown(f"the stored value has format {number}, this release reads {PLAIN} and {EXTENDED}")
    hook = _unexpected if number == PLAIN else _kinds().read
    try:
        return msgpack.unpackb(blob[2:], raw=False, strict_map_key=False, timestamp=3, ext_hook=hook)
    except TypeError:
        return _with_tuples_as_keys(blob, hook)
    except _DAMAGED as error:
        raise FormatUnknown(f"the stored value is damaged: {error}") from error


def _with_tuples_as_keys(blob: bytes, hook: Any) -> Any:
    """A dict whose keys are tuples: msgpack reads an array as a list, which can't be a key."""
    try:
        return _lists(msgpack.unpackb(blob[2:], raw=False, strict_map_key=False, timestamp=3, ext_hook=hook, use_list=False))
    except (TypeError, *_DAMAGED) as error:
        raise FormatUnknown(f"the stored value is damaged: {error}") from error


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def exceeds(value: Any, limit: int) -> bool:
    """Whether ``value`` is certain to need more than ``limit`` bytes, as far as a short look tells.

    It keeps what is far too large from being packed, which takes as much memory again. Only the beginning is looked at: False says nothing.
    """
    if isinstance(value, _SIZED):
        return len(value) > limit
    size, left = 0, _LOOKS
    waiting = [value] if isinstance(value, _CONTAINERS) else []
    while waiting and left > 0:
        container = waiting.pop()
        size += len(container)
        left -= 1
        for item in islice(container.values() if isinstance(container, dict) else container, left):
            left -= 1
            kind = type(item)
            if kind in _SIZED:
                size += len(item)
            elif kind in _CONTAINERS:
                waiting.append(item)
        if size > limit:
            return True
    return False


def _unexpected(code: int, _payload: bytes) -> Any:
    raise ValueError(f"it holds a value of the unknown kind {code}")


def _kinds() -> Any:
    """The module `taskq.registry.kinds`, imported when the first value asks for it."""
    name = "taskq.registry.kinds"
    return sys.modules.get(name) or importlib.import_module(name)
