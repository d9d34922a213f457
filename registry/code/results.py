"""A stored result as what the task's function says that it returns, for who has that function at hand.

A blob holds plain values: a dataclass or model as the map of its fields, a tuple as a list, an enum's member as its value. It names no
class, and reading imports nothing; the annotation of the return value says what to build. A result that does not fit it (the worker
runs another version than the one at hand) stays the plain value.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from taskq.registry.code.parameters import is_plain, return_annotation

_KEPT: Final = 256


def as_returned(body: Callable[..., Any], value: Any) -> Any:
    """``value``, a stored result, as ``body`` (the function, or a class's ``execute``) says that it returns it."""
    adapter = _adapter(body)
    if adapter is None:
        return value
    try:
        return adapter.validate_python(value, by_alias=True, by_name=True)
    except ValidationError:
        return value


@lru_cache(maxsize=_KEPT)
def _adapter(body: Callable[..., Any]) -> TypeAdapter[Any] | None:
    hint = return_annotation(body)
    if is_plain(hint):
        return None
    try:
        return TypeAdapter(hint)
    except (PydanticUserError, PydanticUndefinedAnnotation):
        return None  # a type that pydantic can't build
