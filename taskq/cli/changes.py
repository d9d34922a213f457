"""How the outcome of a change of the registry is shown: the documents of section 6, or a table."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from taskq.cli import output
from taskq.cli.options import Options
from taskq.cli.tables import table
from taskq.cli.words import short
from taskq.registry.errors import RolloutFailed


@contextmanager
def orderly_end() -> Iterator[None]:
    """SIGTERM and SIGHUP end the body by an exception, so that a version that was staged is taken off the stage again."""
    earlier = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  # a signal handler's signature
    raise SystemExit(128 + number)


def print_changes(options: Options, documents: Sequence[dict[str, Any]]) -> None:
    """One row a task: what it is now."""
    if options.json:
        output.document(list(documents))
        return
    rows = [(item["task"], item["version"], item["state"], short(item["digest"]), item["revision"]) for item in documents]
    table("TASK! VERSION> STATE DIGEST REVISION>", rows, empty="nothing was changed")


def print_failure(options: Options, error: RolloutFailed) -> click.exceptions.Exit:
    """Which workers failed and how, on stderr; the documents on stdout with ``--json``. Returns the way out."""
    if options.json:
        output.document(getattr(error, "documents", []))
    click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    output.note(error.message)
    for failure in error.failures:
        click.secho(f"\n{failure['worker']}:", bold=True, err=True)
        output.note(failure["error"].rstrip())
    if error.hint:
        click.secho(f"  → {error.hint}", fg="cyan", err=True)
    return click.exceptions.Exit(error.exit_code)
