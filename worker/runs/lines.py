"""Lines of runs: what an executor sent, as the arguments of ``log.lua``. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

_PARTS: Final = (3, 4)
_LONGEST: Final = 32
_OVERHEAD: Final = 64


class LogLine(NamedTuple):
    """A line of a log: when, its level, its text, the name of its logger or ``""``, its fields in JSON or ``""``."""

    at: str
    level: str
    text: str
    logger: str = ""
    fields: str = ""

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.text) + len(self.fields) + _OVERHEAD


def log_lines(lines: Any) -> Iterator[LogLine]:
    """Lines of a run as an executor sent them; what is no line is left out."""
    for line in lines if isinstance(lines, list) else ():
        if isinstance(line, list) and len(line) in _PARTS and isinstance(line[0], int | float) and math.isfinite(line[0]):
            logger, fields = _more(line[3]) if len(line) == _PARTS[-1] else ("", "")
            yield LogLine(f"{line[0]:.6f}", str(line[1])[:_LONGEST], _clean(str(line[2])), logger, fields)


def log_args(lines: Mapping[str, Sequence[LogLine]], keys: Keys, settings: Settings) -> tuple[list[str], list[Any]]:
    """Keys and arguments of a call of ``log.lua`` for these lines of these runs."""
    args: list[Any] = [settings.log_lines, math.ceil(settings.log_ttl)]
    for number, of_run in enumerate(lines.values(), 1):
        for line in of_run:
            args += (number, *line)
    return [keys.logs(run) for run in lines], args


def _more(value: Any) -> tuple[str, str]:
    if not isinstance(value, dict):
        return "", ""
    logger, fields = value.get("logger"), value.get("fields")
    try:
        written = _clean(json.dumps(fields, allow_nan=False, default=str)) if isinstance(fields, dict) and fields else ""
    except (TypeError, ValueError, RecursionError):
        written = ""
    return _clean(str(logger))[:200] if logger else "", written


def _clean(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
