"""Turns parameters into values that can be stored, within the limits of what msgpack carries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

from pydantic import BaseModel

from taskq.registry.code.places import TYPED
from taskq.registry.errors import InvalidInput

MAX_DEPTH: Final = 100
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def shown(value: object, limit: int = 100) -> str:
    """``repr`` of a value for a message, cut to ``limit`` characters."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001  # a foreign __repr__ may raise anything; the message says so
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


class Plain:
    """One conversion. ``whole_floats`` says whether a float without fraction was met, ``typed`` whether something was that JSON lacks."""

    __slots__ = ("typed", "whole_floats")

    def __init__(self) -> None:
        self.whole_floats = False
        self.typed = False

    def mapping(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params`` as plain values, and bytes and values of `TYPED` as they are.

        Raises:
            InvalidInput: a value can't be stored; names the parameter, the value and the limit.
        """
        result = {}
        for name, value in params.items():
            kind = type(value)
            # The usual case without a call.
            if ((kind is str and value.isascii()) or kind is bool or value is None) and type(name) is str and name.isascii():
                result[name] = value
                continue
            try:
                result[self._key(name)] = self._value(value, 1)
            except _BadValueError as bad:
                label = name if isinstance(name, str) and name.isprintable() else ascii(name)
                raise InvalidInput(f"parameter {label}: {bad}") from None
        return result

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum) or not isinstance(value, str | int | float | None):
            return self._compound(value, depth)
        if isinstance(value, str):
            return _text(value)
        if value is None or isinstance(value, bool):
            return value
        return self._number(value)

    def _number(self, value: float) -> float:
        if isinstance(value, int):
            if not _SMALLEST <= value <= _LARGEST:
                # Not shown: the decimal form of a huge integer takes long, and Python refuses some.
                raise _BadValueError(f"an integer of {value.bit_length()} bits is out of range: allowed are -2^63 to 2^63-1")
            return int(value)
        if not math.isfinite(value):
            raise _BadValueError(f"{value!r} is not a JSON number: it must be finite")
        if value.is_integer():
            self.whole_floats = True
        return float(value)

    def _compound(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _BadValueError(f"nested too deeply: at most {MAX_DEPTH} levels")
        if isinstance(value, list | tuple):
            return [self._value(item, depth + 1) for item in value]
        if isinstance(value, Mapping):
            return {self._key(key): self._value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, bytes | bytearray | memoryview):
            self.typed = True
            return bytes(value)
        if isinstance(value, Enum):
            return self._value(value.value, depth + 1)
        if isinstance(value, TYPED):
            self.typed = True
            return value
        return self._composed(value, depth)

    def _composed(self, value: Any, depth: int) -> Any:
        """A value that is made of others."""
        if is_dataclass(value) and not isinstance(value, type):
            return {field.name: self._value(getattr(value, field.name), depth + 1) for field in fields(value)}
        if isinstance(value, BaseModel):
            return self._model(value, depth)
        if isinstance(value, PurePath):
            return _text(str(value))
        hint = ": pass a list" if isinstance(value, set | frozenset) else ""
        raise _BadValueError(f"{shown(value)} of type {type(value).__name__} can't be stored{hint}")

    def _model(self, value: BaseModel, depth: int) -> Any:
        """Its fields with their values; where one of these is of a type of pydantic's (a URL), or a set, all in their JSON form."""
        try:
            return self._value(value.model_dump(mode="python", by_alias=True, round_trip=True), depth + 1)
        except _BadValueError:
            return self._value(_json_form(value), depth + 1)

    def _key(self, key: Any) -> str:
        if not isinstance(key, str):
            raise _BadValueError(f"the key {shown(key)} is not text: JSON objects have text keys")
        return _text(key)


class _BadValueError(ValueError):
    """What is wrong with a value; the caller adds the parameter's name."""


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _BadValueError(f"{ascii(value)[:100]} is not valid text: it holds a lone surrogate") from None
    return str(value)


def _json_form(value: BaseModel) -> Any:
    try:
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    except ValueError as error:  # PydanticSerializationError is one
        raise _BadValueError(f"{shown(value)} has no JSON form: {error}") from None
