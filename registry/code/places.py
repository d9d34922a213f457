"""Where a parameter keeps its Python type on its way, and where it becomes text: pure, over a task's JSON Schema.

A date, a decimal or a UUID has no form of its own in JSON. Where the schema declares one (``"format": "uuid"``), it is stored as the
text that JSON would hold, and pydantic makes the declared type of it in the executor. Where the schema says nothing (no annotation,
`Any`, the values of a bare ``dict``), nobody would make anything of the text: there the value itself is stored
(`taskq.registry.kinds`). A time with a named zone is stored itself in both, since its text knows the offset alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic_core import to_jsonable_python

from taskq.registry.errors import InvalidInput

TYPED: Final = (date, time, timedelta, Decimal, UUID)
_BINARY: Final = ("binary", "base64", "base64url")
_SAYS_SOMETHING: Final = frozenset(("type", "enum", "const", "anyOf", "oneOf", "allOf", "not", "$ref"))
_REFERENCES: Final = 10
_OPEN: Final[Mapping[str, Any]] = {}

Places = list[Mapping[str, Any]]


class Settled:
    """Parameters as they are stored.

    Args:
        schema: of the task's parameters.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params``, plain and typed values, with text for each typed value whose place declares one.

        Raises:
            InvalidInput: bytes stand where text is declared; names the parameter.
        """
        places = self._places(self._schema, 0)
        settled = {}
        for name, value in params.items():
            try:
                settled[name] = self._value(value, self._of_key(places, name))
            except TypeError as error:
                raise InvalidInput(f"parameter {name}: {error}") from None
        return settled

    def _value(self, value: Any, places: Places) -> Any:
        if isinstance(value, dict):
            return {key: self._value(item, self._of_key(places, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, self._of_item(places, at)) for at, item in enumerate(value)]
        if isinstance(value, bytes):
            if places and not any(_is_open(place) or place.get("format") in _BINARY for place in places):
                raise TypeError("bytes are not allowed here: pass text, or declare the parameter as bytes")
            return value
        if not isinstance(value, TYPED) or any(map(_is_open, places)):
            return value
        if (
            isinstance(value, datetime)
            and isinstance(value.tzinfo, ZoneInfo)
            and any(place.get("format") == "date-time" for place in places)
        ):
            return value
        return to_jsonable_python(value)

    def _places(self, schema: Any, depth: int) -> Places:
        """What a schema says of a value, its references and alternatives resolved: any of these may be the one."""
        if not isinstance(schema, Mapping):
            return [_OPEN]
        reference = schema.get("$ref")
        if isinstance(reference, str) and depth < _REFERENCES:
            schema = self._schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), _OPEN)
            return self._places(schema, depth + 1)
        arms = [arm for word in ("anyOf", "oneOf", "allOf") for arm in schema.get(word) or ()]
        if not arms or depth >= _REFERENCES:
            return [schema]
        return [place for arm in arms for place in self._places(arm, depth + 1)]

    def _of_key(self, places: Places, key: str) -> Places:
        found: Places = []
        for place in places:
            schema = place.get("properties", {}).get(key, place.get("additionalProperties", _OPEN))
            if place.get("type", "object") == "object":
                found += self._places(schema, 0)
        return found

    def _of_item(self, places: Places, at: int) -> Places:
        found: Places = []
        for place in places:
            first = place.get("prefixItems", ())
            schema = first[at] if at < len(first) else place.get("items", _OPEN)
            if place.get("type", "array") == "array":
                found += self._places(schema, 0)
        return found


def as_json(value: Any) -> Any:
    """A stored value as it is checked: typed ones as their text, bytes as text of the same length."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return to_jsonable_python(value) if isinstance(value, TYPED) else value


def _is_open(place: Mapping[str, Any]) -> bool:
    return _SAYS_SOMETHING.isdisjoint(place)
