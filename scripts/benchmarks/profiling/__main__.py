"""The command `scripts/bench profile`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks import machine
from benchmarks.errors import BenchError
from benchmarks.peers import environments
from benchmarks.peers.fleet import Taskq
from benchmarks.processes import Processes
from benchmarks.profiling.stacks import by_module
from benchmarks.profiling.windows import Profile, measure
from benchmarks.report import sections
from benchmarks.server import Aof, Server

_LIBRARY = "pyspy"
_LEAST = 0.05
_SHOWN = 12
_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 140})
@click.option("--runs", type=click.IntRange(min=1000), default=80_000, show_default=True, metavar="N", help="Runs of the drain.")
@click.option("--aof", type=click.Choice(["always", "everysec", "no"]), default="no", show_default=True, help="Append-only file.")
@click.option("--no-functions", is_flag=True, help="Only processes and commands: needs no profiler.")
@click.option("--json", "target", type=_FILE, metavar="FILE", help="All of it, to FILE.")
@click.option("--markdown", "written", type=_FILE, metavar="FILE", help="The tables to FILE, not to the terminal.")
@click.option("--section", metavar="NAME", help="Of the file of --markdown, which is left as it is around it.")
@click.option(
    "--environments",
    "venvs",
    type=click.Path(file_okay=False, path_type=Path),
    default=environments.FOLDER,
    help="Where the profiler's virtual environment is, or is made.  [.bench]",
)
def main(*, runs: int, aof: Aof, no_functions: bool, target: Path | None, written: Path | None, section: str | None, venvs: Path) -> None:
    """Say where each microsecond of a no-op run goes: by process, by the server's commands, by our functions."""
    try:
        if written is not None:
            sections.check(written, section)
        pyspy = None if no_functions else _profiler(venvs.absolute())
        with tempfile.TemporaryDirectory(prefix="taskq-bench-", ignore_cleanup_errors=True) as name, Processes(Path(name)) as processes:
            server = Server(Path(name), aof, processes)
            try:
                profile = measure(server, processes, runs, pyspy)
                version = server.version
            finally:
                server.close()
        _write(profile, aof, machine.versions([Taskq.versions(venvs)]) | {"server": version}, target, written, section)
    except BenchError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


def _write(profile: Profile, aof: Aof, versions: dict[str, str], target: Path | None, written: Path | None, section: str | None) -> None:
    """As JSON where that is wanted, and as Markdown: to a file or the terminal."""
    text = "\n".join(_markdown(profile, aof, versions)) + "\n"
    if written is None:
        click.echo(text, nl=False)
    else:
        sections.put(written, section, text)
    if target is not None:
        target.write_text(json.dumps({"aof": aof, "versions": versions} | asdict(profile), indent=1) + "\n", encoding="utf-8")


def _profiler(venvs: Path) -> Path:
    if not environments.ready(venvs, _LIBRARY):
        click.echo(f"making a virtual environment for py-spy in {venvs}", err=True)
        environments.make(venvs, _LIBRARY)
    return environments.python(venvs, _LIBRARY).with_name("py-spy")


def _markdown(profile: Profile, aof: str, versions: dict[str, str]) -> Iterator[str]:
    yield f"{profile.runs:,} no-op runs, {profile.per_second:,.0f}/s, append-only file: {aof}; "
    yield ", ".join(f"{name} {text}" for name, text in versions.items())
    yield ""
    everything = {**profile.cpu, "together": sum(profile.cpu.values())}
    yield from _table(("process", "CPU, µs a run"), [(name, f"{each:.1f}") for name, each in everything.items()])
    commands = sorted(profile.commands.items(), key=lambda row: -row[1][1])
    rows = [(name, f"{calls:.3f}", f"{taken:.2f}") for name, (calls, taken) in commands if taken >= _LEAST]
    yield from _table(("command of the server", "calls a run", "µs a run"), rows)
    for name, functions in _roles(profile).items():
        modules = by_module(Counter(functions))
        shown = [(module, f"{taken:.1f}") for module, taken in modules.most_common(_SHOWN) if taken >= _LEAST]
        yield from _table((f"{name}, by module", "µs a run"), shown)
        most = Counter(functions).most_common(_SHOWN)
        yield from _table((f"{name}, by function", "µs a run"), [(f"{each}", f"{taken:.1f}") for each, taken in most if taken >= _LEAST])


def _roles(profile: Profile) -> dict[str, dict[str, float]]:
    """Functions of the supervisor, and of all executors together."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for name, functions in profile.functions.items():
        for function, taken in functions.items():
            found["supervisor" if name == "supervisor" else "executors together"][function] += taken
    return found


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| --- |" + " ---: |" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


main(prog_name="scripts/bench profile")
