"""``register``: the tasks of files become versions, and the workers switch to them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import click
from rich.console import Console
from rich.status import Status

from taskq.cli.arguments import SECONDS
from taskq.cli.changes import orderly_end, print_changes, print_failure
from taskq.cli.options import Options, command
from taskq.cli.output import note, printable, warn
from taskq.cli.session import session
from taskq.producer.scheduler.listing import spent_schedules
from taskq.registry.errors import RolloutFailed


@command(
    "register",
    examples="""
    taskq register tasks.py
    taskq register tasks/ -m "new supplier"
    taskq register tasks.py --dry-run
    taskq register tasks.py --if-version 3          # exit 4 if somebody was faster
    taskq register tasks.py --no-activate           # then `taskq promote TASK VERSION`
    """,
)
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR...")
@click.option("-m", "--message", default="", metavar="MSG", help="Why; kept in history and audit.")
@click.option("--origin", metavar="O", help="The project that owns the tasks.  [pyproject's name, else the folder's]")
@click.option("--take-over", is_flag=True, help="Take tasks of another origin over.")
@click.option("--force", is_flag=True, help="Even if this content was rolled back from.")
@click.option("--if-version", type=int, metavar="N", help="Only if N is each task's latest version (0: new); else exit 4.")
@click.option("--if-revision", type=click.IntRange(min=0), metavar="R", help="Only if the registry is at revision R; else exit 4.")
@click.option("--no-activate", is_flag=True, help="Make the versions, but switch no route.")
@click.option("--stage-timeout", type=SECONDS, metavar="S", help="How long to wait for the workers.  [30 s]")
@click.option("--max-unready", type=click.IntRange(min=0), default=0, metavar="N", help="Switch with N workers not ready.")
@click.option("--inspect", type=click.Choice(["auto", "local", "worker"]), default="auto", help="Where the file is imported.  [auto]")
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
def register_command(options: Options, *, paths: tuple[str, ...], no_activate: bool, **given: Any) -> None:
    """Register each task that the FILEs declare, all as one release.

    A file is imported in a process of its own first. The live workers load its tasks ahead; only when all have them are
    the routes switched. If one can't, nothing is switched, and the message says why.
    """
    with session(options) as opened:
        try:
            with orderly_end(), _progress() as on_progress:
                documents = opened.registry.register(list(paths), activate=not no_activate, on_progress=on_progress, **given)
            spent = opened.perform(spent_schedules(opened.keys, [document["task"] for document in documents]))
        except RolloutFailed as error:
            raise print_failure(options, error) from error
    print_changes(options, documents)
    for task, schedule in spent:
        warn(f"{task}: {schedule!r} has passed, so that it fires no more; `taskq run {task}` runs it now")
    if given["dry_run"]:
        note("Nothing was changed (--dry-run).")
    elif no_activate and documents:
        first = documents[0]
        note(f"No route was switched; `taskq promote {first['task']} {first['version']}` does it.")


def _progress() -> AbstractContextManager[Callable[[str], None]]:
    """What tells people what is waited for: a line that moves on a terminal, else nothing."""
    return _Moving() if sys.stderr.isatty() else nullcontext(lambda _: None)


class _Moving(AbstractContextManager[Callable[[str], None]]):
    def __init__(self) -> None:
        self._status = Status("inspecting", console=Console(stderr=True, markup=False))

    def __enter__(self) -> Callable[[str], None]:
        self._status.start()
        return lambda text: self._status.update(printable(text))

    def __exit__(self, *_: object) -> None:
        self._status.stop()
