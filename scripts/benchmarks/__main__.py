"""The command `scripts/bench`."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

import benchmarks
from benchmarks import machine
from benchmarks.errors import BenchError
from benchmarks.measured import Size
from benchmarks.measures import MEASURES, USUAL
from benchmarks.peers import PEERS, environments, load
from benchmarks.peers.foreign import Foreign
from benchmarks.report import sections
from benchmarks.report.document import document
from benchmarks.report.tables import markdown, show
from benchmarks.runner import Done, Plan, run
from benchmarks.server import Aof
from benchmarks.telling import Told

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


def _help() -> str:
    """The package's docstring, paragraph by paragraph as it stands there, and the peers."""
    text = (benchmarks.__doc__ or "").replace("``", "`").replace("**", "")
    peers = [f"  {name.ljust(18)}{load(name).setups['default'].text} ({load(name).share:.1%} of --runs in a drain)" for name in PEERS]
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


@dataclass(frozen=True, slots=True)
class Targets:
    """Where what was measured is written: everything for programs, the tables as Markdown; whether a failure ends all."""

    json: Path | None
    markdown: Path | None
    section: str | None
    keep_going: bool

    def check(self) -> None:
        """Raise `click.BadParameter` where there is no folder for one of them."""
        for option, target in (("--json", self.json), ("--markdown", self.markdown)):
            if target is not None and not target.absolute().parent.is_dir():
                raise click.BadParameter(f"there is no folder {target.absolute().parent}", param_hint=option)
        if self.section is not None and self.markdown is None:
            raise click.UsageError("--section is one of the file that --markdown names")

    def names(self) -> str:
        """Of those that are wanted."""
        return " and ".join(str(target) for target in (self.json, self.markdown) if target is not None)


_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command(help=_help(), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 140})
@click.option("--runs", type=click.IntRange(min=10), metavar="N", help="Runs of a drain and of enqueueing many.  [20000; quick: 400]")
@click.option("--repeat", type=click.IntRange(min=1), metavar="N", help="How often each is measured.  [3; quick: 1]")
@click.option(
    "--only",
    "measures",
    type=Names(tuple(MEASURES)),
    default=USUAL,
    metavar="A,B",
    help=f"Of {', '.join(MEASURES)}.  [those up to {USUAL[-1]}]",
)
@click.option("--peers", type=Names(tuple(PEERS)), default=tuple(PEERS), metavar="A,B", help="Who is measured.  [all]")
@click.option(
    "--aof", type=click.Choice(["always", "everysec", "no"]), multiple=True, help="Append-only file; may be repeated.  [always and no]"
)
@click.option("--json", "target", type=_FILE, metavar="FILE", help="All of it, to FILE.")
@click.option("--markdown", "written", type=_FILE, metavar="FILE", help="The tables as Markdown, to FILE.")
@click.option("--section", metavar="NAME", help="Of the file of --markdown, which is left as it is around it.")
@click.option(
    "--folder", type=click.Path(file_okay=False, exists=True, writable=True, path_type=Path), help="Where the server's files are."
)
@click.option(
    "--environments",
    "venvs",
    type=click.Path(file_okay=False, path_type=Path),
    default=environments.FOLDER,
    help="Where the peers' virtual environments are, or are made.  [.bench]",
)
@click.option("--keep-going", is_flag=True, help="A measurement that fails does not end the others; the exit code is 1 all the same.")
@click.option("--quick", is_flag=True, help="Seconds instead of minutes, to try it; the figures mean little.")
def main(
    *,
    runs: int | None,
    repeat: int | None,
    measures: tuple[str, ...],
    peers: tuple[str, ...],
    aof: tuple[Aof, ...],
    target: Path | None,
    written: Path | None,
    section: str | None,
    folder: Path | None,
    venvs: Path,
    keep_going: bool,
    quick: bool,
) -> None:
    """See `_help`."""
    targets = Targets(target, written, section, keep_going)
    targets.check()
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
        failures = _run(plan, targets, venvs.absolute())
    except BenchError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("interrupted" + (f": {targets.names()} not written" if targets.names() else ""), err=True)
        sys.exit(_INTERRUPTED)
    sys.exit(1 if failures else 0)


def _run(plan: Plan, targets: Targets, venvs: Path) -> int:
    """Go through the plan and write what came of it; returns how many measurements failed."""
    facts = machine.facts(plan.folder)
    done: list[Done] = []
    failures: list[str] = []
    if targets.markdown is not None:
        sections.check(targets.markdown, targets.section)
    with Told(plan) as told:
        _make_environments(plan, venvs, told)
    versions = machine.versions(load(name).versions(venvs) for name in plan.peers)
    try:
        with Told(plan) as told:

            def failed(step: Any, why: str) -> None:
                failures.append(why)
                told.failed(step, why)

            for one in run(plan, told.step, failed if targets.keep_going else None):
                done.append(one)
                told.done(one)
    finally:
        # Also of what there is when it is interrupted, or fails.
        if done:
            show(_console(), done, plan, facts, versions)
    if done and targets.json is not None:
        found = document(done, plan, facts, versions, machine.command_line())
        targets.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if done and targets.markdown is not None:
        sections.put(targets.markdown, targets.section, markdown(done, plan, facts, versions, machine.command_line()))
    return len(failures)


def _make_environments(plan: Plan, venvs: Path, told: Told) -> None:
    """Those that the plan needs and that are not there yet."""
    Foreign.folder = venvs
    for name in dict.fromkeys(step.peer for step in plan.steps()):
        peer = load(name)
        if issubclass(peer, Foreign) and not environments.ready(venvs, peer.library):
            told.say(f"making a virtual environment for {peer.library} in {venvs}")
            environments.make(venvs, peer.library)


main(prog_name="scripts/bench")
