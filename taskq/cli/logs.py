"""The log of a long-running command on its stderr: text for people, one JSON object a line for programs.

What a line is about stands in fields: ``worker`` or ``scheduler`` of the process, and ``run``, ``task``, ``version`` and whatever else
a record was given as ``extra``. A URL's password is never among them: no part of taskq logs a URL.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from taskq.cli.output import printable
from taskq.registry import clock
from taskq.registry.runs.fields import fields_of

AUTO, TEXT, JSON = "auto", "text", "json"
_TEXT_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"


class JsonLines(logging.Formatter):
    """A record as one JSON object on one line.

    ``at`` (ISO 8601), ``level``, ``logger``, ``message``, what is known of the process, the record's own fields, and ``error`` with the
    traceback where there is one.

    Args:
        known: fields of each line.
    """

    def __init__(self, known: dict[str, Any]) -> None:
        super().__init__()
        self._known = known

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "at": clock.iso(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._known,
            **{name: value for name, value in fields_of(record).items() if name not in _OURS},
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        # Lone surrogates and the like stay escaped: the line is ASCII, whatever is in it.
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """A record as text for people, without control characters: parts of it may be somebody's words."""

    def __init__(self) -> None:
        super().__init__(_TEXT_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback where there is one."""
        return printable(super().format(record))


_OURS: Final = ("at", "level", "logger", "message", "error")


def log_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options ``--log-format`` and ``--verbose`` of a long-running command."""
    form = click.option(
        "--log-format",
        type=click.Choice((AUTO, TEXT, JSON)),
        default=AUTO,
        show_default=True,
        help="How this process logs on stderr: text for a terminal, else JSON lines.",
    )
    return form(click.option("--verbose", "-v", is_flag=True, help="Log details as well.")(function))


def start_log(form: str, *, verbose: bool, **known: Any) -> None:
    """Log on stderr from now on.

    Args:
        form: `TEXT`, `JSON`, or `AUTO` for text on a terminal and JSON otherwise.
        verbose: whether details are logged as well.
        known: fields of each JSON line.
    """
    handler = logging.StreamHandler(sys.stderr)
    as_json = form == JSON or (form == AUTO and not sys.stderr.isatty())
    handler.setFormatter(JsonLines(known) if as_json else TextLines())
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
