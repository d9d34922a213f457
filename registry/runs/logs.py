"""What a run logged: its stream as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

from taskq.registry import clock
from taskq.registry.effects import Command, Op
from taskq.registry.keys import Keys
from taskq.registry.names import check

FIRST: Final = "0"
_PAGE: Final = 1000


class LogLine(TypedDict):
    """One line. ``id`` is its place in the stream, to read on from; ``at`` is ISO 8601; ``level`` e.g. ``INFO`` or ``stdout``."""

    id: str
    at: str | None
    level: str
    text: str


def read_logs(keys: Keys, run: str, after: str = FIRST, block: float = 0.0) -> Op[list[LogLine]]:
    """Lines of a run's log, oldest first; none if it logged nothing, or its log has expired.

    Args:
        keys: of the namespace.
        run: the run's id.
        after: only lines after this id; `FIRST` for all.
        block: seconds to wait for a first line if there is none; must stay below the connection's socket timeout.

    Raises:
        InvalidInput: ``run`` can't be an id.
    """
    stream = keys.logs(check("run", run))
    lines: list[LogLine] = []
    while True:
        waiting = ("BLOCK", max(1, int(block * 1000))) if block > 0 and not lines else ()
        entries = entries_of((yield Command("XREAD", "COUNT", _PAGE, *waiting, "STREAMS", stream, after)))
        lines += [_line(entry, fields) for entry, fields in entries]
        if len(entries) < _PAGE:
            return lines
        after = lines[-1]["id"]


def entries_of(reply: Any) -> Sequence[tuple[bytes, Mapping[bytes, bytes]]]:
    """Entries of an XREAD of one stream, in the reply's form of RESP2 (a list) or RESP3 (a mapping)."""
    if not reply:
        return []
    streams = list(reply.items()) if isinstance(reply, dict) else reply
    entries = streams[0][1]
    # RESP3 may hold the entries in a list of their own.
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _line(entry: bytes, fields: Mapping[bytes, bytes]) -> LogLine:
    at = fields.get(b"at")
    return {
        "id": entry.decode(),
        "at": clock.iso(float(at)) if at else None,
        "level": fields.get(b"level", b"").decode(errors="replace"),
        "text": fields.get(b"text", b"").decode(errors="replace"),
    }
