"""One trial from beginning to end, and what is said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from chaos.checker import Checker, Report
from chaos.nemesis import Death, Nemesis, Trial
from chaos.stage import Stage

# The longest that a fleet may take to come to rest behind the last fault, with all that clients have enqueued by then.
_REST = 60.0
_SHOWN, _LONGEST = 50, 8


def run_trial(folder: Path, seed: int, kills: int, tell: Callable[[Death], None] = lambda death: None) -> tuple[Trial, Report]:
    """Have ``kills`` processes die by the schedule of ``seed``, and check what is left.

    Args:
        folder: empty, with a short path; the ledger and the logs stay in it.
        tell: called with each death.
    """
    stage = Stage(folder)
    try:
        stage.serve()
        nemesis = Nemesis(stage, seed, tell)
        trial = nemesis.run(kills, _REST)
        checker = Checker(stage, trial)
        checker.check()
        nemesis.leave()
        return trial, checker.check_left()
    finally:
        stage.close()


def told(trial: Trial, report: Report) -> list[str]:
    """Lines for people."""
    kinds = Counter(death.fault.kind for death in trial.deaths)
    places = {death.fault.place for death in trial.deaths}
    late = sum(death.late for death in trial.deaths)
    deaths = ", ".join(f"{count} of a {kind}" for kind, count in kinds.most_common())
    lines = [
        f"seed {trial.seed}: {len(trial.deaths)} kills at {len(places)} places in {trial.ended - trial.began:.0f} s: {deaths}",
        f"{late} of them from outside, as the process did not come to its point in time",
        f"{report.runs} runs, {report.starts} starts, {report.again} runs started more than once; {report.slots} slots",
        f"recovery p50 {report.recovery(0.5):.2f} s, p99 {report.recovery(0.99):.2f} s, longest {report.recovery(1.0):.2f} s",
        "the longest: " + ", ".join(f"{seconds:.2f} s ({fault})" for seconds, fault in sorted(report.recoveries)[: -_LONGEST - 1 : -1]),
    ]
    if not report.faults:
        return [*lines, "nothing is lost, nothing is doubled, nothing is left behind"]
    return [*lines, f"{len(report.faults)} faults:", *report.faults[:_SHOWN]]
