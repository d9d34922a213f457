"""Python's values beyond msgpack's own types, as msgpack extension types.

====  =========  ====================================================================================================
code  type       payload
====  =========  ====================================================================================================
1     datetime   ISO 8601 text; with the key of its zone in brackets where that is a `zoneinfo.ZoneInfo`
2     date       ISO 8601 text
3     time       as of datetime
4     timedelta  array of days, seconds and microseconds
5     Decimal    its text, so that digits, exponent and sign stay as they are
6     UUID       16 bytes
====  =========  ====================================================================================================

msgpack's own timestamp knows an instant only: the zone and its absence would both be lost.

A dataclass or pydantic model is stored as the map of its fields, an enum's member as its value, a path as its text: no name of a
class is stored, since reading must never import anything. Whoever knows the type builds it again from the map: an
executor for a parameter, a client for the result of a function that it has at hand. Sets are refused, as in JSON.

`taskq.registry.codec` imports this module when it meets the first such value: executors start without `decimal`, `uuid`
and `zoneinfo`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack

_ZONED: Final = re.compile(r"([^\[]+)(?:\[([A-Za-z0-9_+/-]{1,64})\])?")


class Packer:
    """One value on its way to msgpack. ``extended`` says whether an extension type was needed for it."""

    def __init__(self) -> None:
        self.extended = False

    def pack(self, value: Any) -> bytes:
        """``value`` in msgpack.

        Raises:
            TypeError, ValueError, OverflowError, RecursionError: it can't be carried. Exception: what its own methods raise.
        """
        return bytes(msgpack.packb(value, use_bin_type=True, default=self._other))

    def _other(self, value: Any) -> Any:
        while isinstance(value, Enum):
            value = value.value
        for kind, (code, encode) in _ENCODERS.items():
            if isinstance(value, kind):
                self.extended = True
                return msgpack.ExtType(code, encode(value))
        if isinstance(value, PurePath):
            return str(value)
        if is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        if _is_model(value):
            return self._model(value)
        if value is None or isinstance(value, bool | int | float | str | bytes | list | tuple | dict):
            return value  # the value of an enum's member
        raise TypeError(f"can not serialize {type(value).__name__!r} object")

    def _model(self, value: Any) -> Any:
        """Its fields with their values; where one of these is of a type of pydantic's (a URL, a secret), all in their JSON form."""
        dumped = value.model_dump(mode="python", by_alias=True, round_trip=True)
        try:
            msgpack.packb(dumped, use_bin_type=True, default=self._other)
        except TypeError:
            return value.model_dump(mode="json", by_alias=True, round_trip=True)
        return dumped


def read(code: int, payload: bytes) -> Any:
    """The value of an extension type; msgpack's ``ext_hook``.

    Raises:
        ValueError: the code is not known, or the payload is not what it should be.
    """
    decode = _DECODERS.get(code)
    if decode is None:
        raise ValueError(f"it holds a value of the unknown kind {code}")
    try:
        return decode(payload)
    except (ArithmeticError, TypeError, LookupError) as error:
        raise ValueError(f"a value of kind {code} can't be read: {error!r}") from error


def _is_model(value: Any) -> bool:
    # Never imported here: it costs megabytes, and whoever has an instance has it.
    base = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    return base is not None and isinstance(value, base) and not isinstance(value, type)


def _write_zoned(value: datetime | time) -> bytes:
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    return (value.isoformat() + (f"[{zone}]" if zone else "")).encode()


def _read_datetime(payload: bytes) -> datetime:
    text, zone = _parts(payload)
    value = datetime.fromisoformat(text)
    if zone is None:
        return value
    local = value.replace(tzinfo=zone)
    # The hour that a change of time repeats: the offset says which of the two it is. Where this machine's zones have another
    # offset at that time, the instant is what counts.
    return next((one for one in (local, local.replace(fold=1)) if one.utcoffset() == value.utcoffset()), value)


def _read_time(payload: bytes) -> time:
    text, zone = _parts(payload)
    return time.fromisoformat(text) if zone is None else time.fromisoformat(text).replace(tzinfo=zone)


def _parts(payload: bytes) -> tuple[str, ZoneInfo | None]:
    match = _ZONED.fullmatch(payload.decode())
    if match is None:
        raise ValueError("not a time")
    try:
        return match[1], ZoneInfo(match[2]) if match[2] else None
    except (LookupError, ValueError, OSError):  # this machine does not know the zone
        return match[1], None


def _write_delta(value: timedelta) -> bytes:
    return bytes(msgpack.packb([value.days, value.seconds, value.microseconds]))


# In this order: a datetime is a date.
_ENCODERS: Final[dict[type, tuple[int, Callable[[Any], bytes]]]] = {
    datetime: (1, _write_zoned),
    date: (2, lambda value: value.isoformat().encode()),
    time: (3, _write_zoned),
    timedelta: (4, _write_delta),
    Decimal: (5, lambda value: str(value).encode()),
    UUID: (6, lambda value: value.bytes),
}
_DECODERS: Final[dict[int, Callable[[bytes], Any]]] = {
    1: _read_datetime,
    2: lambda payload: date.fromisoformat(payload.decode()),
    3: _read_time,
    4: lambda payload: timedelta(*msgpack.unpackb(payload)),
    5: lambda payload: Decimal(payload.decode()),
    6: lambda payload: UUID(bytes=payload),
}
