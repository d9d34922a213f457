"""What a run logged: its stream as lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

from taskq.registry import clock
from taskq.registry.effects import Command, Op
from taskq.registry.keys import Keys
from taskq.registry.names import check

FIRST: Final = "0"
_PAGE: Final = 1000


class LogLine(TypedDict):
    """One line.

    ``id`` is its place in the stream, to read on from; ``at`` is ISO 8601; ``level`` e.g. ``INFO`` or ``STDOUT``. Of a record of
    `logging` there is also the name of its ``logger`` (None for the task's own), and what it was given as ``extra``: ``fields``.
    """

    id: str
    at: str | None
    level: str
    text: str
    logger: str | None
    fields: dict[str, Any]


def read_logs(keys: Keys, run: str, after: str = FIRST, block: float = 0.0, ended_after: str | None = None) -> Op[list[LogLine]]:
    """Lines of a run's log, oldest first; none if it logged nothing, or its log has expired.

    Args:
        keys: of the namespace.
        run: the run's id.
        after: only lines after this id; `FIRST` for all.
        block: seconds to wait for a first line if there is none; must stay below the connection's socket timeout.
        ended_after: id in the stream of the run's results (`newest_result`): what comes after it ends the waiting too.

    Raises:
        InvalidInput: ``run`` can't be an id.
    """
    stream = keys.logs(check("run", run))
    lines: list[LogLine] = []
    while True:
        waiting = ("BLOCK", max(1, int(block * 1000))) if block > 0 and not lines else ()
        also = ended_after if waiting else None
        places = (stream, after) if also is None else (stream, keys.rq_results(run), after, also)
        entries = entries_of((yield Command("XREAD", "COUNT", _PAGE, *waiting, "STREAMS", *places)), stream)
        lines += [_line(entry, fields) for entry, fields in entries]
        if len(entries) < _PAGE:
            return lines
        after = lines[-1]["id"]


def last_logs(keys: Keys, run: str, count: int) -> Op[list[LogLine]]:
    """The last ``count`` lines of a run's log, oldest first; raises `InvalidInput` if ``run`` can't be an id."""
    entries = yield Command("XREVRANGE", keys.logs(check("run", run)), "+", "-", "COUNT", count)
    return [_line(entry, fields) for entry, fields in reversed(entries)]


def newest_result(keys: Keys, run: str) -> Op[str]:
    """Id of the newest entry in the stream of a run's results; `FIRST` where it has none."""
    entries = yield Command("XREVRANGE", keys.rq_results(run), "+", "-", "COUNT", 1)
    return entries[0][0].decode() if entries else FIRST


def entries_of(reply: Any, stream: str | None = None) -> Sequence[tuple[bytes, Mapping[bytes, bytes]]]:
    """Entries of an XREAD of one stream (of several: of the one named), in the reply's form of RESP2 (a list) or RESP3 (a mapping)."""
    if not reply:
        return []
    streams = list(reply.items()) if isinstance(reply, dict) else reply
    entries: Any = next((found for name, found in streams if stream is None or name == stream.encode()), [])
    # RESP3 may hold the entries in a list of their own.
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _line(entry: bytes, fields: Mapping[bytes, bytes]) -> LogLine:
    logger = fields.get(b"logger")
    return {
        "id": entry.decode(),
        "at": _time(fields.get(b"at")),
        "level": fields.get(b"level", b"").decode(errors="replace"),
        "text": fields.get(b"text", b"").decode(errors="replace"),
        "logger": logger.decode(errors="replace") if logger else None,
        "fields": _fields(fields.get(b"fields")),
    }


def _time(stored: bytes | None) -> str | None:
    try:
        return clock.iso(float(stored)) if stored else None
    except (ValueError, OverflowError, OSError):  # a task may set the clock that its lines are stamped by
        return None


def _fields(stored: bytes | None) -> dict[str, Any]:
    try:
        fields = json.loads(stored) if stored else {}
    except (ValueError, RecursionError):
        fields = None
    return fields if isinstance(fields, dict) else {}
