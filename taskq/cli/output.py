"""What a command prints: documents on stdout with ``--json``, plain values and notes for people.

Text that came from tasks, messages or other programs is shown without control characters, so that it can't speak to the
terminal.
"""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Any

import click

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_JSON = (str, int, bool, type(None))


def printable(text: str) -> str:
    """``text`` with each control character (tab and newline excepted) and each change of direction made visible as an escape."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """One JSON document; what JSON lacks is written as text, NaN and infinities as null.

    Bytes are written in base64, times and durations in ISO 8601, decimals, UUIDs and all else as their text.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    """``value`` made of what JSON has. Not recursive: a result may be nested deeper than Python likes."""
    whole = [value]
    waiting: list[tuple[Any, Any]] = [(whole, 0)]  # containers of ours, and where in them is what is not plain yet
    while waiting:
        holder, place = waiting.pop()
        item = holder[place]
        if isinstance(item, Mapping):
            made: Any = {key if isinstance(key, str) else str(_plain(key)): part for key, part in item.items()}
            waiting += [(made, key) for key, part in made.items() if type(part) not in _JSON]
        elif isinstance(item, list | tuple | set | frozenset):
            made = list(item)
            waiting += [(made, at) for at, part in enumerate(made) if type(part) not in _JSON]
        else:
            made = _scalar(item)
        holder[place] = made
    return whole[0]


def _scalar(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return _duration(value)
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _duration(value: timedelta) -> str:
    """``P1DT2.5S``, with a sign in front where it is negative."""
    length = abs(value)
    seconds = f"{length.seconds}.{length.microseconds:06}".rstrip("0").rstrip(".") if length.microseconds else str(length.seconds)
    return f"{'-' if value < timedelta(0) else ''}P{length.days}DT{seconds}S"


def document(value: Any) -> None:
    """Print one document on stdout: indented on a terminal, else on one line."""
    click.echo(to_json(value, indent=2 if sys.stdout.isatty() else None))


def line(value: Any) -> None:
    """Print one document of a stream on stdout, on one line, at once."""
    click.echo(to_json(value))


def plain(value: Any) -> None:
    """Print a result for people: text as it is, everything else as JSON."""
    click.echo(printable(value) if isinstance(value, str) else printable(to_json(value, indent=2)))


def note(text: str) -> None:
    """A message for people, on stderr."""
    click.echo(printable(text), err=True)


def warn(text: str) -> None:
    """A message that something is not as it should be, on stderr."""
    click.secho(f"! {printable(text)}", fg="yellow", err=True)
