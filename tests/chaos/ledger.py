"""The ledger: what runs themselves wrote down, in a file that no fault touches.

One line an entry, appended by one ``write`` each: what, run, attempt, pid, and when by the machine's monotonic clock, which all
processes share. ``start`` and ``end`` frame the task's body; ``dies`` is written right before a run kills its own executor.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

# The task that is registered again and again; `VERSION` differs from one version to the next.
TASKS = '''
import os, threading, time
from taskq import Retry, TaskContext, task

VERSION = 0
LEDGER = {ledger!r}


def note(what, ctx):
    line = f"{{what}} {{ctx.run}} {{ctx.attempt}} {{os.getpid()}} {{time.monotonic():.6f}}\\n"
    file = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def once(ctx):
    """Only one attempt of a run kills: whoever makes its mark first."""
    try:
        os.close(os.open(f"{{LEDGER}}.{{ctx.run}}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    note("dies", ctx)
    return True


def kill():
    os.kill(os.getpid(), 9)


@task(queue="default", grace="2s", timeout="20s")
def step(ctx: TaskContext, seconds: float = 0.0, dies: str = "", after: float = 0.0) -> int:
    note("start", ctx)
    if dies and once(ctx):
        if dies == "executor.running":
            kill()
        threading.Timer(after, kill).start()
    time.sleep(seconds)
    note("end", ctx)
    return VERSION


@task(every="0.5s", misfire="all")
def tick(ctx: TaskContext) -> None:
    note("start", ctx)
    note("end", ctx)
'''


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. ``at`` is in seconds on the monotonic clock."""

    what: str
    run: str
    attempt: int
    pid: int
    at: float


class Ledger:
    """The file, as it is read.

    Args:
        path: of the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def source(self, version: int) -> str:
        """The text of a task file whose tasks write here."""
        return TASKS.format(ledger=str(self.path)).replace("VERSION = 0", f"VERSION = {version}")

    def entries(self) -> list[Entry]:
        """All complete lines, in the order in which they were written."""
        text = self.path.read_text() if self.path.exists() else ""
        found = []
        for line in text[: text.rfind("\n") + 1].splitlines():
            what, run, attempt, pid, at = line.split()
            found.append(Entry(what, run, int(attempt), int(pid), float(at)))
        return found

    def starts(self) -> dict[str, list[Entry]]:
        """Starts by run, in order."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries():
            if entry.what == "start":
                found[entry.run].append(entry)
        return found
