"""The tables, laid out for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.measures import MEASURES
from benchmarks.peers import load
from benchmarks.report.figures import COLUMNS, FIGURES, Figure, Found, medians
from benchmarks.report.marks import marks
from benchmarks.runner import Done, Plan


class Sheet(NamedTuple):
    """A table: what stands above it, its columns, its rows; the first column is text."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def sheets(done: Sequence[Done], plan: Plan) -> Iterator[Sheet]:
    """For each mode of the append-only file: the peers beside each other, the marks, and what is taskq's alone."""
    for aof, found in medians(done).items():
        where = f"append-only file: {aof}" + (" (as `taskq up` ships it)" if aof == "always" else "")
        columns = [figure for figure in COLUMNS if any(measure == figure.measure for measure, _ in found)]
        peers = [peer for peer in plan.peers if any((figure.measure, peer) in found for figure in columns)]
        rows = [[load(peer).title, *(_cell(figure, found, peer) for figure in columns), _drain_times(found, peer)] for peer in peers]
        if columns:
            title = f"{where}; {f'median of {plan.repeat}' if plan.repeat > 1 else 'one measurement each'}"
            yield Sheet(title, ["", *(figure.short for figure in columns), "taskq's\ndrain ×"], rows)
        reached = [[one.title, one.wanted, one.value, one.beside, "met" if one.met else "NOT MET"] for one in marks(found)]
        if reached:
            yield Sheet(f"marks; {where}", ["", "wanted", "taskq", "beside the best", ""], reached)
        alone = [[figure.title, _cell(figure, found, "taskq")] for figure in FIGURES if MEASURES[figure.measure].ours]
        alone = [row for row in alone if row[1]]
        if alone:
            yield Sheet(f"taskq alone; {where}", ["", "taskq"], alone)


def _cell(figure: Figure, found: Found, peer: str) -> str:
    value = found.get((figure.measure, peer), {}).get(figure.name)
    return "" if value is None else f"{value:,.{figure.digits}f}"


def _drain_times(found: Found, peer: str) -> str:
    ours, theirs = (found.get(("drain", who), {}).get("per_second") for who in ("taskq", peer))
    return "" if peer == "taskq" or not ours or not theirs else f"{ours / theirs:,.1f} ×"


def ground(done: Sequence[Done], facts: dict[str, Any], versions: dict[str, str]) -> Iterator[str]:
    """What the figures were made on."""
    yield f"{facts['cpu']}, {facts['cores_usable']} cores; {facts['filesystem']}, fsync {facts['fsync_ms']:.2f} ms"
    yield ", ".join([done[0].server, *(f"{name} {text}" for name, text in versions.items())])
    loads = [one.before["cpu_percent"] for one in done]
    yield f"CPU in use before the measurements: median {median(loads):.0f} %, at most {max(loads):.0f} %"


def configurations(done: Sequence[Done], plan: Plan) -> list[list[str]]:
    """How each peer's worker was started for which measures, whether it stores results, and how many runs it drained."""
    made = {(one.step.measure, one.step.peer): one.measured.runs for one in done}
    rows = []
    for peer in plan.peers:
        kind = load(peer)
        setups = dict.fromkeys(MEASURES[measure].setup for measure, who in made if who == peer)
        for setup in setups:
            drained = f"{made['drain', peer]:,}" if setup == "default" and ("drain", peer) in made else ""
            rows.append([kind.title, setup, kind.setups[setup].text, "yes" if kind.stores else "no", drained])
    return rows


def notes(done: Sequence[Done]) -> Iterator[str]:
    """What measures found on the way."""
    for one in done:
        for note in one.measured.notes:
            yield f"{one.step} ({one.step.repeat}): {note}"


def show(console: Console, done: Sequence[Done], plan: Plan, facts: dict[str, Any], versions: dict[str, str]) -> None:
    """Print all of it."""
    started = Sheet("how workers were started", ["", "for", "worker", "results", "drained"], configurations(done, plan))
    for sheet in [*sheets(done, plan), started]:
        table = Table(title=sheet.title, title_justify="left", box=SIMPLE_HEAD)
        for number, column in enumerate(sheet.columns):
            table.add_column(column, justify="left" if number == 0 or "worker" in sheet.columns else "right")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table, highlight=False)
    for line in [*notes(done), *ground(done, facts, versions)]:
        console.print(line, highlight=False, soft_wrap=True)


def markdown(done: Sequence[Done], plan: Plan, facts: dict[str, Any], versions: dict[str, str], command: str) -> str:
    """The same, as Markdown."""
    lines = [f"`{command}`", "", *(f"- {line}" for line in ground(done, facts, versions)), ""]
    started = Sheet("how workers were started", ["", "for", "worker", "results", "drained"], configurations(done, plan))
    for sheet in [*sheets(done, plan), started]:
        lines += [f"**{sheet.title[0].upper()}{sheet.title[1:]}**", "", _line([column.replace("\n", " ") for column in sheet.columns])]
        lines += [_line(["---", *("---:" if "worker" not in sheet.columns else "---" for _ in sheet.columns[1:])])]
        lines += [*map(_line, sheet.rows), ""]
    lines += [f"- {note}" for note in notes(done)]
    return "\n".join(lines).rstrip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
