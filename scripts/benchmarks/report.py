"""What is shown in the end: a table for people, a document for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.peers import load
from benchmarks.runner import Done, Plan

FORMAT = 1


class Figure(NamedTuple):
    """A row of the table. ``digits`` behind the point; ``more_is_better``, or less."""

    measure: str
    name: str
    title: str
    digits: int = 0
    more_is_better: bool = True


FIGURES = (
    Figure("drain", "per_second", "drain, runs/s"),
    Figure("drain", "per_second_with_start", "drain with start-up, runs/s"),
    Figure("enqueue", "one_per_second", "enqueue one by one, runs/s"),
    Figure("enqueue", "many_per_second", "enqueue many, runs/s"),
    Figure("latency", "start_p50_ms", "idle start p50, ms", 2, more_is_better=False),
    Figure("latency", "start_p99_ms", "idle start p99, ms", 2, more_is_better=False),
    Figure("latency", "round_trip_p50_ms", "round trip p50, ms", 2, more_is_better=False),
    Figure("convergence", "register_p50_ms", "register a change p50, ms", more_is_better=False),
    Figure("convergence", "register_max_ms", "register a change max, ms", more_is_better=False),
    Figure("convergence", "switched_p50_ms", "stage → all switched p50, ms", more_is_better=False),
    Figure("convergence", "switched_max_ms", "stage → all switched max, ms", more_is_better=False),
)

Medians = dict[tuple[str, str, str], dict[str, float]]
"""(append-only file, measure, peer) → figures."""


def medians(done: Iterable[Done]) -> Medians:
    """The median of each figure over the repeats."""
    collected: dict[tuple[str, str, str], list[dict[str, float]]] = defaultdict(list)
    for one in done:
        collected[one.step.aof, one.step.measure, one.step.peer].append(one.measured.figures)
    return {key: {name: median(figures[name] for figures in all_of) for name in all_of[0]} for key, all_of in collected.items()}


def ratio(figure: Figure, value: float, other: float) -> float | None:
    """How many times better ``value`` is than ``other``; None where that means nothing."""
    better, worse = (value, other) if figure.more_is_better else (other, value)
    return better / worse if worse else None


def tables(done: Sequence[Done], plan: Plan) -> Iterable[Table | str]:
    """One table for each mode of the append-only file, peers side by side, each with its ratio to the first one's figure; then notes."""
    found = medians(done)
    runs = {(one.step.measure, one.step.peer): one.measured.runs for one in done}
    first, *others = plan.peers
    for aof in dict.fromkeys(one.step.aof for one in done):
        table = Table(
            title=f"append-only file: {aof}" + (" (as `taskq up` ships it)" if aof == "always" else ""),
            title_justify="left",
            box=SIMPLE_HEAD,
        )
        table.add_column(f"median of {plan.repeat}" if plan.repeat > 1 else "", no_wrap=True)
        for peer in plan.peers:
            table.add_column(load(peer).title, justify="right")
            if peer != first:
                table.add_column("×", justify="right", style="dim")
        for figure in FIGURES:
            values = {peer: found.get((aof, figure.measure, peer), {}).get(figure.name) for peer in plan.peers}
            if any(value is not None for value in values.values()):
                cells = [_cell(figure, values[first])]
                for peer in others:
                    cells += [_cell(figure, values[peer]), _times(figure, values[first], values[peer])]
                table.add_row(figure.title, *cells)
        yield table
    if others:
        yield f"×: how many times better {load(first).title} is than the column before."
    if "drain" in plan.measures:
        drained = [f"{load(peer).title} {runs['drain', peer]:,} runs" for peer in plan.peers if ("drain", peer) in runs]
        yield f"Drained: {', '.join(drained)}."


def _cell(figure: Figure, value: float | None) -> str:
    return "" if value is None else f"{value:,.{figure.digits}f}"


def _times(figure: Figure, value: float | None, other: float | None) -> str:
    times = None if value is None or other is None else ratio(figure, value, other)
    return "" if times is None else f"{times:,.1f} ×"


def show(console: Console, done: Sequence[Done], plan: Plan, facts: dict[str, Any], versions: dict[str, str]) -> None:
    """Print the tables and what they were made on."""
    for part in tables(done, plan):
        console.print(part, highlight=False)
    loads = [one.before["cpu_percent"] for one in done]
    console.print(
        f"{facts['cpu']}, {facts['cores_usable']} cores; {facts['filesystem']}, fsync {facts['fsync_ms']:.2f} ms", highlight=False
    )
    console.print(", ".join([done[0].server, *(f"{name} {text}" for name, text in versions.items())]), highlight=False)
    console.print(f"CPU in use before the measurements: median {median(loads):.0f} %, at most {max(loads):.0f} %", highlight=False)


def document(done: Sequence[Done], plan: Plan, facts: dict[str, Any], versions: dict[str, str], command: str) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "format": FORMAT,
        "command": command,
        "taken_at": datetime.fromtimestamp(done[0].at, tz=UTC).isoformat(timespec="seconds"),
        "machine": facts,
        "versions": versions | {"server": done[0].server},
        "plan": {
            "peers": {peer: {"title": load(peer).title, "command": load(peer).command} for peer in plan.peers},
            "measures": list(plan.measures),
            "aof": list(plan.aof),
            "repeat": plan.repeat,
            "quick": plan.quick,
        },
        "medians": [
            {"aof": aof, "measure": measure, "peer": peer, "figures": {name: round(value, 4) for name, value in figures.items()}}
            for (aof, measure, peer), figures in medians(done).items()
        ],
        "measurements": [one.document() for one in done],
    }
