"""msgpack with a format number: how every record, payload and result is stored and sent.

A blob is ``0xC1, format, msgpack…``. 0xC1 is the one byte that msgpack never uses, so that a blob can't be mistaken for
bare msgpack, nor for a pickle or JSON. Reading never executes anything. Standard library and msgpack only: executors
import this module.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack

from taskq.registry.errors import FormatUnknown, InvalidInput

MAGIC: Final = 0xC1
FORMAT: Final = 1
_HEAD: Final = bytes((MAGIC, FORMAT))
MAX_DEPTH: Final = 100


def dumps(value: Any) -> bytes:
    """``value`` as a blob of the current format.

    Args:
        value: None, bool, int (64 bit), float, str, bytes, list, tuple (becomes a list), dict, aware datetime.

    Raises:
        InvalidInput: the value holds something that msgpack can't carry, is self-referential or nested too deeply.
    """
    try:
        return _HEAD + bytes(msgpack.packb(value, use_bin_type=True, datetime=True))
    except (TypeError, ValueError, OverflowError, RecursionError, UnicodeError) as error:
        raise InvalidInput(f"not serialisable: {error}") from error


def loads(blob: bytes) -> Any:
    """The value of a blob.

    Raises:
        FormatUnknown: not a blob of ours, of another format, or damaged.
    """
    if len(blob) < 3 or blob[0] != MAGIC:
        raise FormatUnknown("the stored value is not taskq's msgpack form")
    if blob[1] != FORMAT:
        raise FormatUnknown(f"the stored value has format {blob[1]}, this release reads {FORMAT}")
    try:
        return msgpack.unpackb(blob[2:], raw=False, strict_map_key=False, timestamp=3)
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise FormatUnknown(f"the stored value is damaged: {error}") from error
