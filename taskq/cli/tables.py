"""Tables for people, on stdout; no wider than the terminal, or 100 columns where there is none."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from taskq.cli.output import printable

_WIDTH = 100
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


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``keep``: never shortened (ids, which are copied); otherwise it is cut with an ellipsis where room lacks."""

    title: str
    align: Literal["left", "right"] = "left"
    keep: bool = False
    wrap: bool = False


def console() -> Console:
    """A console on stdout with the width that tables have."""
    width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or _WIDTH)
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def table(columns: Sequence[Column | str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table; ``empty`` is said where there are no rows.

    A cell is text; None is shown as ``-``.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in (Column(item) if isinstance(item, str) else item for item in columns):
        overflow: Literal["fold", "ellipsis"] = "fold" if column.wrap or column.keep else "ellipsis"
        made.add_column(column.title, justify=column.align, no_wrap=not column.wrap, overflow=overflow, min_width=0)
    count = 0
    for row in rows:
        made.add_row(*(cell(value) for value in row))
        count += 1
    if count:
        console().print(made)
    else:
        console().print(Text(empty, style="dim"))


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
