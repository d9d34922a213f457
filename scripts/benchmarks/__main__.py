"""The command `scripts/bench`."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import benchmarks
from benchmarks import machine, report
from benchmarks.errors import BenchError
from benchmarks.measured import Size
from benchmarks.peers import PEERS, load
from benchmarks.runner import MEASURES, Done, Plan, Step, run
from benchmarks.server import Aof

_INTERRUPTED = 130
_WIDTH = 110


class Names(click.ParamType[tuple[str, ...]]):
    """Names of a table, separated by commas, in the order in which they are given."""

    name = "names"

    def __init__(self, known: Sequence[str]) -> None:
        self._known = tuple(known)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names as a tuple; fails naming one that is unknown."""
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",") if part.strip()))
        unknown = [name for name in names if name not in self._known]
        if unknown or not names:
            self.fail(f"{', '.join(unknown) or 'nothing'} is not allowed; there are {', '.join(self._known)}", param, ctx)
        return names


class Told:
    """Shows how far it is: a bar on a terminal, else a line for each measurement. On stderr.

    Args:
        plan: that is gone through.
    """

    def __init__(self, plan: Plan) -> None:
        self._console = Console(stderr=True)
        columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        # Drawn when there is news: a thread that draws would disturb what is measured.
        self._bar = Progress(*columns, console=self._console, auto_refresh=False, transient=True, disable=not self._console.is_terminal)
        self._total = len(plan.steps())
        self._task = self._bar.add_task("", total=self._total)
        self._done = 0
        self._shown: tuple[Step, int] | None = None

    def __enter__(self) -> Told:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, step: Step, part: float) -> None:
        """So much of a step is done."""
        shown = (step, int(part * 10))
        if shown != self._shown:
            self._shown = shown
            self._bar.update(self._task, completed=self._done + part, description=f"{self._done + 1}/{self._total} {step}", refresh=True)

    def done(self, done: Done) -> None:
        """A step is done."""
        self._done += 1
        figures = ", ".join(
            f"{figure.title} {done.measured.figures[figure.name]:,.{figure.digits}f}"
            for figure in report.FIGURES
            if figure.measure == done.step.measure and figure.name in done.measured.figures
        )
        self._console.print(f"{done.step} ({done.step.repeat}): {figures}", highlight=False, soft_wrap=True)


def _help() -> str:
    """The package's docstring, paragraph by paragraph as it stands there, and the peers."""
    text = (benchmarks.__doc__ or "").replace("``", "`").replace("**", "")
    peers = [f"  {name.ljust(8)}{load(name).command} ({load(name).share:.1%} of --runs in a drain)" for name in PEERS]
    return "\n\n".join(f"\b\n{part}" for part in [*text.split("\n\n"), "\n".join(["Peers:", *peers])])


def _interrupt(*_: object) -> None:
    """Once: what follows only cleans up, and takes no longer than it must."""
    _on_interrupt(signal.SIG_IGN)
    raise KeyboardInterrupt


def _on_interrupt(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _console() -> Console:
    """Stdout; wide enough for the tables where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def _size(quick: bool, runs: int | None) -> Size:
    size = Size.quick() if quick else Size()
    return size if runs is None else replace(size, runs=runs)


@click.command(help=_help(), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 140})
@click.option("--runs", type=click.IntRange(min=10), metavar="N", help="Runs of a drain and of enqueueing many.  [20000; quick: 400]")
@click.option("--repeat", type=click.IntRange(min=1), metavar="N", help="How often each is measured.  [3; quick: 1]")
@click.option("--only", "measures", type=Names(tuple(MEASURES)), default=tuple(MEASURES), metavar="A,B", help=f"Of {', '.join(MEASURES)}.")
@click.option(
    "--peers", type=Names(tuple(PEERS)), default=tuple(PEERS), metavar="A,B", help="Who is measured; ratios are to the first one."
)
@click.option(
    "--aof", type=click.Choice(["always", "everysec", "no"]), multiple=True, help="Append-only file; may be repeated.  [always and no]"
)
@click.option(
    "--json", "target", type=click.Path(dir_okay=False, writable=True, path_type=Path), metavar="FILE", help="All of it, to FILE."
)
@click.option(
    "--folder", type=click.Path(file_okay=False, exists=True, writable=True, path_type=Path), help="Where the server's files are."
)
@click.option("--quick", is_flag=True, help="Seconds instead of minutes, to try it; the figures mean little.")
def main(
    *,
    runs: int | None,
    repeat: int | None,
    measures: tuple[str, ...],
    peers: tuple[str, ...],
    aof: tuple[Aof, ...],
    target: Path | None,
    folder: Path | None,
    quick: bool,
) -> None:
    """See `_help`."""
    if target is not None and not target.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {target.absolute().parent}", param_hint="--json")
    _on_interrupt(_interrupt)
    plan = Plan(
        peers,
        measures,
        aof or ("always", "no"),
        repeat or (1 if quick else 3),
        _size(quick, runs),
        folder or Path(tempfile.gettempdir()),
        quick,
    )
    if not plan.steps():
        raise click.UsageError(f"nothing to measure: {', '.join(measures)} is not measured for {', '.join(peers)}")
    try:
        _run(plan, target)
    except BenchError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("interrupted" + ("" if target is None else f": {target} is not written"), err=True)
        sys.exit(_INTERRUPTED)


def _run(plan: Plan, target: Path | None) -> None:
    facts = machine.facts(plan.folder)
    versions = machine.versions(name for peer in plan.peers for name in load(peer).distributions)
    done: list[Done] = []
    try:
        with Told(plan) as told:
            for one in run(plan, told.step):
                done.append(one)
                told.done(one)
    finally:
        # Also of what there is when it is interrupted, or fails.
        if done:
            report.show(_console(), done, plan, facts, versions)
    if target is not None:
        document = report.document(done, plan, facts, versions, machine.command_line())
        target.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


main(prog_name="scripts/bench")
