"""``scripts/chaos``: trials by hand."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chaos.checker import Report
from chaos.nemesis import Death, Trial
from chaos.plan import schedule
from chaos.trial import run_trial, told


@click.command(epilog="Exits with 1 where something is lost, doubled or left behind; its ledger and logs are kept then.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the schedule of faults: the same seed gives the same one.")
@click.option("--kills", type=click.IntRange(min=1), default=200, show_default=True, help="How many processes die in a trial.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Trial after trial, each with the next seed, for so long.")
@click.option("--plan", is_flag=True, help="Print the schedule of the seed, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document a trial, on stdout.")
@click.option("--keep", is_flag=True, help="Keep ledger and logs of each trial.")
def main(*, seed: int, kills: int, minutes: float | None, plan: bool, as_json: bool, keep: bool) -> None:
    """Kill workers, executors, schedulers, clients, registrars and the server at named points, and check that nothing is lost.

    \b
    scripts/chaos
    scripts/chaos --seed 7 --kills 50
    scripts/chaos --minutes 30
    scripts/chaos --seed 7 --plan
    """
    if plan:
        for faults in schedule(seed, kills).values():
            for fault in faults:
                click.echo(str(fault))
        return
    deadline = time.monotonic() + 60 * (minutes or 0)
    good = True
    while True:
        good = _trial(seed, kills, as_json=as_json, keep=keep) and good
        seed += 1
        if time.monotonic() >= deadline:
            break
    sys.exit(0 if good else 1)


def _trial(seed: int, kills: int, *, as_json: bool, keep: bool) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="tqc"))
    columns = (
        TextColumn("seed {task.fields[seed]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=kills, seed=seed)

        def tell(death: Death) -> None:
            progress.update(bar, advance=1, description=str(death.fault))

        trial, report = run_trial(folder, seed, kills, tell)
    if as_json:
        click.echo(json.dumps(_document(trial, report)))
    else:
        click.echo("\n".join(told(trial, report)))
    if report.faults or keep:
        click.echo(f"ledger and logs: {folder}", err=True)
    else:
        shutil.rmtree(folder)
    return not report.faults


def _document(trial: Trial, report: Report) -> dict[str, object]:
    return {
        "seed": trial.seed,
        "kills": len(trial.deaths),
        "kills_at": dict(Counter(death.fault.place for death in trial.deaths)),
        "kills_of": dict(Counter(death.fault.kind for death in trial.deaths)),
        "seconds": round(trial.ended - trial.began, 1),
        "runs": report.runs,
        "starts": report.starts,
        "slots": report.slots,
        "recovery_p50": round(report.recovery(0.5), 3),
        "recovery_p99": round(report.recovery(0.99), 3),
        "faults": report.faults,
    }


if __name__ == "__main__":
    main()
