"""What a log record says besides its text: the fields that its author gave it with ``extra``.

Standard library only: an executor uses it for the lines of runs, the command line for the worker's own log.
"""

from __future__ import annotations

import logging
import math
from typing import Any, Final

MOST_FIELDS: Final = 50
MOST_ITEMS: Final = 100
LONGEST: Final = 1_000
_DEPTH: Final = 4
_STANDARD: Final = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"))
_WHOLE: Final = 2**63


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record as JSON values: at most `MOST_FIELDS`, each text of at most `LONGEST` characters.

    What JSON lacks becomes its text; a value whose own methods raise becomes a text that says so.
    """
    names = [name for name in vars(record) if name not in _STANDARD]
    return {str(name)[:LONGEST]: _plain(vars(record)[name], 0) for name in names[:MOST_FIELDS]} if names else {}


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool or (kind is int and -_WHOLE <= value < _WHOLE) or (kind is float and math.isfinite(value)):
        return value
    if kind is str:
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
    if depth < _DEPTH and kind in (list, tuple):
        return [_plain(item, depth + 1) for item in value[:MOST_ITEMS]]
    if depth < _DEPTH and kind is dict:
        return {_text(key): _plain(value[key], depth + 1) for key in list(value)[:MOST_ITEMS]}
    return _text(value)


def _text(value: Any) -> str:
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001  # a foreign __str__ may raise anything; the text says so
        return f"<{type(value).__name__} whose text raises {type(error).__name__}>"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
