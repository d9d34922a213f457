"""`Told`: how far the bench is."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.report.figures import FIGURES
from benchmarks.runner import Done, Plan, Step


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

    def say(self, text: str) -> None:
        """Something that is no step."""
        self._console.print(text, highlight=False, soft_wrap=True)

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
            for figure in FIGURES
            if figure.measure == done.step.measure and figure.name in done.measured.figures
        )
        self.say(f"{done.step} ({done.step.repeat}): {figures}")

    def failed(self, step: Step, why: str) -> None:
        """A step has failed, and the others go on."""
        self._done += 1
        self.say(f"{step} ({step.repeat}): failed: " + "\n  ".join(why.splitlines()[-3:]))
