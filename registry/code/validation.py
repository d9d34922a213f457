"""Checks a run's parameters against the JSON Schema of its task, before anything is written and again at claim.

Checked is the JSON form of what will be stored: values within the limits of msgpack. Python values that have a text form in
JSON (dates, UUIDs, decimals, paths) become that text where the schema declares one (`places`), members of enums their value, dataclasses
and models the map of their fields; bytes stay bytes and are checked as text of the same length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import jsonschema_rs
from pydantic import TypeAdapter

from taskq.registry.code.places import Settled, as_json
from taskq.registry.code.plain import Plain, shown
from taskq.registry.errors import InvalidInput
from taskq.registry.model.spec import Parameters

_STRICT: Final = "strictInteger"
_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_MESSAGE: Final = 200
_NOTHING: Final = object()


class _StrictInteger:
    """JSON Schema counts 1.0 as an integer; Python code that asked for an int would get a float."""

    def __init__(self, parent: object, value: object, path: object) -> None:
        """As jsonschema_rs makes it; nothing of it is needed."""

    def validate(self, instance: object) -> None:
        """Raise ValueError for a float."""
        if isinstance(instance, float):
            raise ValueError(f'{instance!r} is not of type "integer"')  # noqa: TRY004  # the kind of error that jsonschema_rs turns into its own


class Validator:
    """Checks parameters of one version. Made once and kept by the caller: the schema is compiled here.

    Args:
        parameters: of the version's spec.

    Raises:
        InvalidInput: the schema itself is not valid.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.schema = parameters.json_schema
        self._properties: dict[str, Any] = self.schema.get("properties", {})
        self._compiled = self._compile(self.schema)

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as they are stored.

        Args:
            params: by name.

        Raises:
            InvalidInput: one is missing, unknown or not allowed; names parameter, value and what is allowed.
        """
        plain = Plain()
        values = checked = plain.mapping(params)
        if plain.typed:
            values = Settled(self.schema).values(values)
            checked = as_json(values)
        compiled = self._strict if plain.whole_floats else self._compiled
        if not compiled.is_valid(checked):
            raise InvalidInput(self._explain(compiled, checked))
        return values

    def from_text(self, pairs: list[tuple[str, str]]) -> dict[str, Any]:
        """Parameters from ``name=text`` pairs, each converted to its declared type; not yet checked.

        ``str`` stays as written, so does what has no declared type. A union tries its types in order.

        Raises:
            InvalidInput: a name is unknown or given twice, or its text can't be read as its type.
        """
        values: dict[str, Any] = {}
        for name, text in pairs:
            if name in values:
                raise InvalidInput(f"parameter {name} is given twice")
            schema = self._properties.get(name, self.schema.get("additionalProperties", True))
            if schema is False:
                raise InvalidInput(self._unknown([name]))
            value = self._read(schema, text)
            if value is _NOTHING:
                raise InvalidInput(f"parameter {name}: {shown(text)} can't be read as {self._allowed(schema)}")
            values[name] = value
        return values

    @cached_property
    def _strict(self) -> jsonschema_rs.Validator:
        return self._compile(_with_strict_integers(self.schema))

    def _compile(self, schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
        try:
            return jsonschema_rs.Draft202012Validator(
                dict(schema), formats=_FORMATS, validate_formats=True, keywords={_STRICT: _StrictInteger}, offline=True
            )
        except (jsonschema_rs.ValidationError, ValueError) as error:
            raise InvalidInput(f"the parameters' JSON Schema is not valid: {error}") from None

    # -- messages ----------------------------------------------------------------------------------------
    def _explain(self, compiled: jsonschema_rs.Validator, values: dict[str, Any]) -> str:
        error = next(iter(compiled.iter_errors(values)))
        path = list(error.instance_path)
        kind = error.kind.name
        if not path and kind == "additionalProperties":
            return self._unknown(list(error.kind.unexpected))  # type: ignore[attr-defined]  # a field of this kind of error
        if not path and kind == "required":
            missing = error.kind.property  # type: ignore[attr-defined]  # a field of this kind of error
            return f"parameter {missing} is missing: {self._allowed(self._properties.get(missing, True))}"
        value: Any = values
        for part in path:
            value = value[part]
        where = ".".join(str(part) for part in path) or "parameters"
        allowed = self._allowed(self._properties.get(str(path[0]), True)) if path else "an object"
        message = error.message if len(error.message) <= _MESSAGE else error.message[: _MESSAGE - 3] + "..."
        return f"parameter {where}: {shown(value)} is not allowed: {message}; allowed: {allowed}"

    def _unknown(self, names: list[str]) -> str:
        known = ", ".join(self._properties) or "none"
        return f"unknown parameter {', '.join(names)}: the task takes {known}"

    def _allowed(self, schema: Any) -> str:
        """A schema in words."""
        schema = self._resolved(schema)
        arms = schema.get("anyOf") or schema.get("oneOf")
        if arms:
            return " or ".join(dict.fromkeys(self._allowed(arm) for arm in arms))
        if "enum" in schema or "const" in schema:
            return " or ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
        words = str(schema.get("type", "any JSON value"))
        if words == "array" and schema.get("items"):
            words += f" of {self._allowed(schema['items'])}"
        limits = {name: value for name, value in schema.items() if name in _LIMITS}
        return words + (f" ({', '.join(f'{name} {value}' for name, value in limits.items())})" if limits else "")

    # -- reading text ------------------------------------------------------------------------------------
    def _resolved(self, schema: Any) -> dict[str, Any]:
        for _ in range(10):  # a reference to a reference …; a schema that refers to itself ends here
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
                break
            schema = self.schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
        return schema if isinstance(schema, dict) else {}

    def _read(self, schema: Any, text: str) -> Any:
        schema = self._resolved(schema)
        for arm in schema.get("anyOf") or schema.get("oneOf") or ():
            value = self._read(arm, text)
            if value is not _NOTHING:
                return value
        if "anyOf" in schema or "oneOf" in schema:
            return _NOTHING
        if "enum" in schema or "const" in schema:
            choices = schema.get("enum", [schema.get("const")])
            return next((choice for choice in choices if text in (choice, json.dumps(choice))), _NOTHING)
        return _read_as(schema.get("type"), text)


def _read_as(kind: Any, text: str) -> Any:
    for one in kind if isinstance(kind, list) else [kind]:
        value = _READERS.get(one, _read_json)(text)
        if value is not _NOTHING and (one not in _CONTAINERS or isinstance(value, _CONTAINERS[one])):
            return value
    return _NOTHING


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING


def _read_integer(text: str) -> Any:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,20}", text) else _NOTHING


def _read_number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return _NOTHING


def _with_strict_integers(schema: Any) -> Any:
    if isinstance(schema, dict):
        copied = {name: _with_strict_integers(value) for name, value in schema.items()}
        return copied | {_STRICT: True} if schema.get("type") == "integer" else copied
    return [_with_strict_integers(item) for item in schema] if isinstance(schema, list) else schema


def _finite(text: str) -> None:
    if not Decimal(text).is_finite():
        raise ValueError(text)


def _reads(parse: Any) -> Any:
    def check(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, ArithmeticError):
            return False
        return True

    return check


_LIMITS: Final = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "format",
    "minItems", "maxItems",
)  # fmt: skip
# RFC 3339 wants a zone; Python code need not, so a time without one is accepted.
_FORMATS: Final = {
    "date-time": _reads(datetime.fromisoformat),
    "date": _reads(date.fromisoformat),
    "time": _reads(time.fromisoformat),
    # As pydantic reads it: with fractions of a second, negative, or as 1:30:00.
    "duration": _reads(TypeAdapter(timedelta).validate_python),
    "decimal": _reads(_finite),
}
_CONTAINERS: Final[dict[Any, type]] = {"array": list, "object": dict}
_READERS: Final[dict[Any, Callable[[str], Any]]] = {
    None: str,
    "string": str,
    "boolean": lambda text: _BOOLEANS.get(text.lower(), _NOTHING),
    "integer": _read_integer,
    "number": _read_number,
    "null": lambda text: None if text == "null" else _NOTHING,
}
