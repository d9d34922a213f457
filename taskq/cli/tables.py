"""Tables for people, on stdout; no wider than the terminal, or 100 columns where there is none."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from taskq.cli.output import printable

_WIDTH = 100
_NARROWEST = 6
_GAP = "  "
MANY = 200  # rows that people see unless they ask for all

# What words of state look like, so that trouble is seen at a glance.
STYLES = {
    "active": "green",
    "ready": "green",
    "succeeded": "green",
    "idle": "green",
    "ok": "green",
    "running": "cyan",
    "busy": "cyan",
    "staged": "cyan",
    "queued": "blue",
    "scheduled": "blue",
    "paused": "yellow",
    "behind": "yellow",
    "draining": "yellow",
    "starting": "yellow",
    "cancelled": "yellow",
    "retired": "dim",
    "gone": "dim",
    "unchanged": "dim",
    "failed": "bold red",
}


def console() -> Console:
    """A console on stdout with the width that tables have."""
    told = os.environ.get("COLUMNS", "")
    width = int(told) if told.isdecimal() and int(told) >= _NARROWEST else _WIDTH
    return Console(
        file=sys.stdout, width=None if sys.stdout.isatty() else width, highlight=False, markup=False, emoji=False, soft_wrap=False
    )


def table(heads: str, rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table.

    Args:
        heads: the columns' titles, separated by blanks (``_`` stands for a blank within one). A title may end in a mark:
            ``>`` aligns to the right, ``!`` is never shortened (ids, which are copied), ``~`` is wrapped where room lacks;
            a column without a mark is cut with an ellipsis.
        rows: a cell is text; None and empty text are shown as ``-``.
        empty: what is said where there are no rows.
    """
    cells = [[cell(value) for value in row] for row in rows]
    out = console()
    if not cells:
        out.print(Text(empty, style="dim"))
        return
    titles = [(head.rstrip(">!~").replace("_", " "), head[-1]) for head in heads.split()]
    natural = [max(len(title), *(row[at].cell_len for row in cells)) for at, (title, _) in enumerate(titles)]
    widths = fitted(natural, [mark != "!" for _, mark in titles], out.width - len(_GAP) * (len(titles) - 1))
    made = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold")
    for (title, mark), width in zip(titles, widths, strict=True):
        overflow: Literal["fold", "ellipsis"] = "fold" if mark in "~!" else "ellipsis"
        made.add_column(title, justify="right" if mark == ">" else "left", no_wrap=mark not in "~!", overflow=overflow, width=width)
    for row in cells:
        made.add_row(*row)
    out.print(made)


def fitted(natural: Sequence[int], flexible: Sequence[bool], room: int) -> list[int]:
    """Widths of columns that fit into ``room``: the widest flexible ones give way first, none below a few characters."""
    widths = list(natural)
    while sum(widths) > room:
        candidates = [at for at, may in enumerate(flexible) if may and widths[at] > _NARROWEST]
        if not candidates:
            break
        widths[max(candidates, key=widths.__getitem__)] -= 1
    return widths


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line; pairs whose value is None are left out."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            made.add_row(Text(name), cell(value))
    console().print(made)


def cell(value: object) -> Text:
    """A cell's text, safe for the terminal and in the colour of the state that it names."""
    text = "-" if value is None or value == "" else printable(str(value))
    return Text(text, style=STYLES.get(text, ""))
