"""``runs``, ``status``, ``logs`` and ``cancel``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from taskq.cli import output
from taskq.cli.arguments import RUN, TASK
from taskq.cli.options import Options, command
from taskq.cli.session import Session, session
from taskq.cli.tables import MANY, facts, table
from taskq.cli.words import ago, counted, due_words, last_line, local, took
from taskq.registry.runs.cancellation import cancel_run
from taskq.registry.runs.creation import INDEX_CAP
from taskq.registry.runs.document import Attempt, RunDocument, read_run
from taskq.registry.runs.index import list_runs
from taskq.registry.runs.logs import FIRST, LogLine, read_logs
from taskq.registry.runs.statuses import STATUSES, TERMINAL

_BLOCK = 2.0  # stays below the connection's socket timeout


@command(
    "runs",
    examples="""
    taskq runs
    taskq runs --task sync_inventory --status failed
    taskq runs --status running --json
    taskq runs --status scheduled                 # those that are due first
    """,
)
@click.option("--task", type=TASK, metavar="T", help="Only runs of this task.")
@click.option("--status", type=click.Choice(STATUSES), metavar="S", help=f"Only runs of this status: {', '.join(STATUSES)}.")
@click.option("--all", "everything", is_flag=True, help=f"All runs; people see the newest {MANY} otherwise.")
def runs_command(options: Options, *, task: str | None, status: str | None, everything: bool) -> None:
    """List the latest runs, newest first; with --status scheduled those that are due later, the next one first."""
    limit = INDEX_CAP if everything or options.json else MANY
    with session(options) as opened:
        found = opened.perform(list_runs(opened.keys, task, status, limit))
    if options.json:
        output.document(found)
        return
    rows = [
        (
            run["run"],
            run["task"],
            run["version"],
            run["status"],
            run["attempt"] or None,
            ago(run["due_at"] if run["status"] == "scheduled" else run["queued_at"]),
            took(run["started_at"], run["ended_at"]),
            _why(run),
        )
        for run in found
    ]
    table("RUN! TASK V> STATUS TRY> QUEUED TOOK> ERROR", rows, empty="no runs; `taskq run TASK` enqueues one")
    if len(found) == limit:
        output.note(f"The {'first' if status == 'scheduled' else 'newest'} {limit}; --all shows all.")


def _why(run: RunDocument) -> str | None:
    error = last_line(run["error"])
    if run["reason"] in (None, "error"):
        return error
    return f"{run['reason']}: {error}" if error else run["reason"]


@command(
    "status",
    examples="""
    taskq status 5f0e7c1b9a3d4e2f8b6a1c0d
    taskq status 5f0e7c1b9a3d4e2f8b6a1c0d --json
    """,
)
@click.argument("run", type=RUN)
def status_command(options: Options, *, run: str) -> None:
    """Show RUN: how it stands, its result or error, and its attempts."""
    with session(options) as opened:
        found = opened.perform(read_run(opened.keys, run))
    if options.json:
        output.document(found)
    else:
        _print_status(found)


def _print_status(run: RunDocument) -> None:
    result = output.to_json(run["result"], indent=2) if run["status"] == "succeeded" else None
    facts(
        [
            ("run", run["run"]),
            ("task", run["task"]),
            ("version", run["version"]),
            ("status", run["status"]),
            ("reason", run["reason"]),
            ("worker", run["worker"]),
            ("trigger", run["trigger"]),
            ("cause", run["cause"]),
            ("due", due_words(run["due_at"]) if run["status"] == "scheduled" else local(run["due_at"])),
            ("queued", local(run["queued_at"])),
            ("started", local(run["started_at"])),
            ("ended", local(run["ended_at"])),
            ("result", result),
        ]
    )
    if run["attempts"]:
        click.echo()
        table("TRY> V> WORKER OUTCOME STARTED TOOK> ERROR", map(_attempt, run["attempts"]), empty="")
    if run["error"]:
        click.echo(f"\n{output.printable(run['error'].rstrip())}")


def _attempt(item: Attempt) -> tuple[object, ...]:
    length = took(item["started_at"], item["ended_at"])
    return item["attempt"], item["version"], item["worker"], item["outcome"], local(item["started_at"]), length, item["error"]


@command(
    "logs",
    examples="""
    taskq logs 5f0e7c1b9a3d4e2f8b6a1c0d
    taskq logs -f 5f0e7c1b9a3d4e2f8b6a1c0d      # until it ends
    """,
)
@click.argument("run", type=RUN)
@click.option("--follow", "-f", is_flag=True, help="Print lines as they come, until the run ends.")
def logs_command(options: Options, *, run: str, follow: bool) -> None:
    """Print what RUN printed and logged."""
    with session(options) as opened:
        count = 0
        for line in _lines(opened, run, follow=follow):
            count += 1
            if options.json:
                output.line(line)
            else:
                _print_line(line)
        if not count:
            status = opened.perform(read_run(opened.keys, run))["status"]
            if not options.json:
                output.note(f"Run {run} has logged nothing; it is {status}.")


def _lines(opened: Session, run: str, *, follow: bool) -> Iterator[LogLine]:
    """Lines of a log; with ``follow`` until the run has ended and its last line was read."""
    after, block = FIRST, min(_BLOCK, opened.settings.socket_timeout / 2)
    while True:
        # Asked before the lines are read: what it logged before it ended is then among them.
        over = not follow or opened.perform(read_run(opened.keys, run))["status"] in TERMINAL
        lines = opened.perform(read_logs(opened.keys, run, after, 0 if over else block))
        yield from lines
        if over:
            return
        after = lines[-1]["id"] if lines else after


def _print_line(line: LogLine) -> None:
    stamp = (local(line["at"]) or "")[-8:]
    level = line["level"]
    color = {"ERROR": "red", "CRITICAL": "red", "WARNING": "yellow"}.get(level)
    click.echo(f"{click.style(stamp, dim=True)} {click.style(level.ljust(7), fg=color)} {output.printable(line['text'])}")


@command("cancel", examples="taskq cancel 5f0e7c1b9a3d4e2f8b6a1c0d")
@click.argument("runs", type=RUN, nargs=-1, required=True, metavar="RUN...")
def cancel_command(options: Options, *, runs: tuple[str, ...]) -> None:
    """Cancel RUNs that wait, in a queue or until they are due; exit 4 if one runs or has ended."""
    with session(options) as opened:
        for run in runs:
            opened.perform(cancel_run(opened.keys, opened.settings, run))
            if options.json:
                output.line(opened.perform(read_run(opened.keys, run)))
    if not options.json:
        output.note(f"Cancelled {counted(len(runs), 'run')}.")
