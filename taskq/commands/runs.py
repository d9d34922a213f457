"""``runs``, ``status``, ``logs``, ``cancel`` and ``retry``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from taskq.cli import output
from taskq.cli.arguments import RUN, SECONDS, TASK
from taskq.cli.options import Options, command
from taskq.cli.session import Session, session
from taskq.cli.tables import MANY, facts, table
from taskq.cli.words import ago, counted, due_words, last_line, local, took
from taskq.producer.cancelling import MARGIN, confirm_cancelled
from taskq.registry import clock
from taskq.registry.errors import Conflict, InvalidInput, NotFound, TaskqError, WaitTimeout
from taskq.registry.runs.cancellation import request_cancel
from taskq.registry.runs.creation import INDEX_CAP
from taskq.registry.runs.document import Attempt, RunDocument, read_run, read_runs
from taskq.registry.runs.index import ended_runs, list_runs
from taskq.registry.runs.logs import FIRST, LogLine, last_logs, newest_result, read_logs
from taskq.registry.runs.retries import MAX_BATCH, Retried, retry_runs
from taskq.registry.runs.statuses import STATUSES, TERMINAL, Status

_LATER = ("scheduled", "retrying")
_AGAIN: tuple[Status, ...] = ("failed", "cancelled")
_OPEN: tuple[Status, ...] = tuple(status for status in STATUSES if status not in TERMINAL)
_BLOCK = 2.0  # stays below the connection's socket timeout
_LONG = 300  # characters of an attempt's error that people see
_FEW = 100  # runs for which no progress is shown


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
    """List the latest runs, newest first; with --status scheduled or retrying those that are due later, the next one first; with failed or
    cancelled those that ended last.
    """
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
            ago(run["due_at"] if run["status"] in _LATER else run["queued_at"]),
            took(run["started_at"], run["ended_at"]),
            _why(run),
        )
        for run in found
    ]
    table("RUN! TASK V> STATUS! TRY> QUEUED TOOK> ERROR", rows, empty="no runs; `taskq run TASK` enqueues one")
    if len(found) == limit:
        output.note(f"The {'first' if status in _LATER else 'newest'} {limit}; --all shows all.")


def _why(run: RunDocument) -> str | None:
    """Why it is no success; of one that is tried again, what its last attempt met."""
    last = run["attempts"][-1] if run["attempts"] else None
    reason = last["outcome"] if last is not None and run["status"] == "retrying" else run["reason"]
    error = (last["error"] if last is not None else None) or last_line(run["error"])
    if reason in (None, "error"):
        return error
    return f"{reason}: {error}" if error else reason


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
            ("due", due_words(run["due_at"]) if run["status"] in _LATER else local(run["due_at"])),
            ("queued", local(run["queued_at"])),
            ("started", local(run["started_at"])),
            ("ended", local(run["ended_at"])),
            ("result", result),
        ]
    )
    if run["attempts"]:
        click.echo()
        table("TRY> V> WORKER OUTCOME! STARTED! TOOK> ERROR~", map(_attempt, run["attempts"]), empty="")
    if run["error"]:
        click.echo(f"\n{output.printable(run['error'].rstrip())}")


def _attempt(item: Attempt) -> tuple[object, ...]:
    length = took(item["started_at"], item["ended_at"])
    error = item["error"] if item["error"] is None or len(item["error"]) <= _LONG else f"{item['error'][:_LONG]}…"
    return item["attempt"], item["version"], item["worker"], item["outcome"], local(item["started_at"]), length, error


@command(
    "logs",
    examples="""
    taskq logs 5f0e7c1b9a3d4e2f8b6a1c0d
    taskq logs -f 5f0e7c1b9a3d4e2f8b6a1c0d      # until it ends
    taskq logs --tail 20 5f0e7c1b9a3d4e2f8b6a1c0d
    taskq logs 5f0e7c1b9a3d4e2f8b6a1c0d --json | jq 'select(.fields.order == 7)'
    """,
)
@click.argument("run", type=RUN)
@click.option("--follow", "-f", is_flag=True, help="Print lines as they come, also while the run waits, until it ends.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.  [all]")
def logs_command(options: Options, *, run: str, follow: bool, tail: int | None) -> None:
    """Print what RUN printed and logged, on whichever worker."""
    with session(options) as opened:
        count = 0
        for line in _lines(opened, run, follow=follow, tail=tail):
            count += 1
            if options.json:
                output.line(line)
            else:
                _print_line(line)
        if not count and tail != 0:
            status = opened.perform(read_run(opened.keys, run))["status"]
            if not options.json:
                output.note(f"Run {run} has logged nothing; it is {status}.")


def _lines(opened: Session, run: str, *, follow: bool, tail: int | None) -> Iterator[LogLine]:
    """Lines of a log; with ``follow`` until the run has ended and its last line was read."""
    after, block = FIRST, min(_BLOCK, opened.settings.socket_timeout / 2)
    if tail is not None:
        # With --tail 0 one as well: what is followed begins after it.
        lines = opened.perform(last_logs(opened.keys, run, max(1, tail)))
        yield from lines if tail else ()
        if not follow:
            return
        after = lines[-1]["id"] if lines else after
    while True:
        # Asked before the lines are read: what it logged before it ended is then among them.
        newest = opened.perform(newest_result(opened.keys, run)) if follow else None
        over = not follow or _has_ended(opened, run)
        lines = opened.perform(read_logs(opened.keys, run, after, 0 if over else block, newest))
        yield from lines
        if over:
            return
        after = lines[-1]["id"] if lines else after


def _has_ended(opened: Session, run: str) -> bool:
    try:
        return opened.perform(read_run(opened.keys, run))["status"] in TERMINAL
    except NotFound:
        return True  # its record has expired; its log may live on


def _print_line(line: LogLine) -> None:
    stamp = (local(line["at"]) or "")[-8:]
    level = line["level"]
    color = {"ERROR": "red", "CRITICAL": "red", "WARNING": "yellow"}.get(level)
    said = {"logger": line["logger"], **line["fields"]} if line["logger"] else line["fields"]
    first, *more = output.printable(line["text"]).split("\n")
    # Beside the message, not behind a traceback.
    fields = "".join(click.style(f" {output.printable(f'{name}={_brief(value)}')}", dim=True) for name, value in said.items())
    click.echo("\n".join([f"{click.style(stamp, dim=True)} {click.style(level.ljust(7), fg=color)} {first}{fields}", *more]))


def _brief(value: object) -> str:
    return value if isinstance(value, str) and value and not any(letter in value for letter in ' "=\n') else output.to_json(value)


@command(
    "cancel",
    examples="""
    taskq cancel 5f0e7c1b9a3d4e2f8b6a1c0d
    taskq cancel 5f0e7c1b9a3d4e2f8b6a1c0d --reason "wrong region" --no-wait
    taskq cancel --task sync_inventory --status queued --yes
    """,
)
@click.argument("runs", type=RUN, nargs=-1, metavar="[RUN]...")
@click.option("--task", type=TASK, metavar="T", help="All runs of this task that have not ended.")
@click.option("--status", type=click.Choice(_OPEN), help="All runs of this status; all that have not ended, if only --task is given.")
@click.option("--reason", default="", metavar="TEXT", help="Recorded as the reason.")
@click.option("--no-wait", is_flag=True, help="Don't wait until workers have stopped those that run.")
@click.option("--timeout", type=SECONDS, metavar="D", help=f"How long a worker may take to stop one.  [its grace and {MARGIN:g} s]")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
def cancel_command(
    options: Options,
    *,
    runs: tuple[str, ...],
    task: str | None,
    status: Status | None,
    reason: str,
    no_wait: bool,
    timeout: float | None,
    yes: bool,
) -> None:
    """Cancel RUNs, whether they wait or run, or all that the filters name.

    One that waits is cancelled at once. The worker that holds one that runs is asked to stop it, and is waited for: by an exception in
    the task first, by force after its grace. Exit 4 if one has ended by itself, 1 if a worker has not confirmed it in time: the
    request stands then. Exit 3 if there is no such run.
    """
    filtered = (task, status) != (None, None)
    if bool(runs) == filtered:
        raise InvalidInput("name RUNs, or filter them by --task or --status: one of both")
    with session(options) as opened:
        chosen = list(dict.fromkeys(runs))
        if filtered:
            chosen = _open_runs(opened, task, status)
            if chosen and not yes:
                _confirm(options, f"Cancel {counted(len(chosen), 'run')}?")
        failed = _cancel(opened, options, chosen, reason, 0.0 if no_wait else timeout)
    # Of those that a filter has named, some may have ended while others were cancelled: that is nobody's mistake.
    shown = [error for error in failed if not (filtered and isinstance(error, Conflict))]
    if not options.json:
        verb = "Asked for the end of" if no_wait else "Cancelled"
        output.note(f"{verb} {counted(len(chosen) - len(failed), 'run')}." if chosen else "There is none to cancel.")
    for error in shown[1:]:
        output.warn(error.message)
    if shown:
        raise shown[0]


def _open_runs(opened: Session, task: str | None, status: Status | None) -> list[str]:
    found = opened.perform(list_runs(opened.keys, task, status, INDEX_CAP))
    return [run["run"] for run in found if run["status"] not in TERMINAL]


def _cancel(opened: Session, options: Options, runs: Sequence[str], reason: str, wait: float | None) -> list[TaskqError]:
    """Ask for all of them first, then wait for those that run; returns what could not be done."""
    block = min(_BLOCK, opened.settings.socket_timeout / 2)
    failed: list[TaskqError] = []
    asked: list[tuple[str, float]] = []
    with click.progressbar(length=len(runs), label="Cancelling", file=sys.stderr, hidden=len(runs) <= _FEW or options.json) as bar:
        for run in runs:
            try:
                grace = opened.perform(request_cancel(opened.keys, opened.settings, run, reason))
                if grace is not None and wait != 0:
                    asked.append((run, clock.monotonic() + (grace + MARGIN if wait is None else wait)))
                    continue
                _print_cancelled(opened, options, run)
            except (Conflict, NotFound) as error:
                failed.append(error)
            bar.update(1)
        for run, deadline in asked:
            try:
                opened.perform(confirm_cancelled(opened.keys, run, max(0.0, deadline - clock.monotonic()), block))
                _print_cancelled(opened, options, run)
            except (Conflict, NotFound, WaitTimeout) as error:
                failed.append(error)
            bar.update(1)
    return failed


def _print_cancelled(opened: Session, options: Options, run: str) -> None:
    if options.json:
        output.line(opened.perform(read_run(opened.keys, run)))


@command(
    "retry",
    examples="""
    taskq retry 5f0e7c1b9a3d4e2f8b6a1c0d
    taskq retry --task sync_inventory --since 1h             # those that failed in the last hour
    taskq retry --status failed --reason timeout --limit 100 --yes
    """,
)
@click.argument("runs", type=RUN, nargs=-1, metavar="[RUN]...")
@click.option("--task", type=TASK, metavar="T", help="All runs of this task that failed.")
@click.option("--status", type=click.Choice(_AGAIN), help="All runs of this status; failed, if another filter is given.")
@click.option("--reason", metavar="R", help="Only with this reason, such as timeout or poison.")
@click.option("--since", type=SECONDS, metavar="D", help="Only those that ended in this time, such as 30m or 2d.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="So many at most, those that ended last.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
def retry_command(
    options: Options,
    *,
    runs: tuple[str, ...],
    task: str | None,
    status: Status | None,
    reason: str | None,
    since: float | None,
    limit: int | None,
    yes: bool,
) -> None:
    """Run RUNs that failed or were cancelled again, or all that the filters name.

    It is the same run: it keeps its id and the attempts that it had, and takes the version that its task has now. Exit 4 if one waits,
    runs or has succeeded, 3 if there is none, or its task is retired.
    """
    filtered = (task, status, reason, since, limit) != (None,) * 5
    if bool(runs) == filtered:
        raise InvalidInput("name RUNs, or filter them by --task, --status, --reason, --since or --limit: one of both")
    with session(options) as opened:
        chosen = list(dict.fromkeys(runs))
        if filtered:
            most = INDEX_CAP if limit is None else limit
            chosen = opened.perform(ended_runs(opened.keys, status or "failed", task=task, reason=reason, since=since, limit=most))
            if chosen and not yes:
                _confirm(options, f"Retry {counted(len(chosen), (status or 'failed') + ' run')}?")
        done = _retry(opened, options, chosen)
    refused = [item.error for item in done if item.error is not None]
    if not options.json:
        output.note(f"Retried {counted(len(done) - len(refused), 'run')}." if done else "There is none to retry.")
    for error in refused[1:]:
        output.warn(error.message)
    if refused:
        raise refused[0]


def _confirm(options: Options, question: str) -> None:
    if options.json or not sys.stdin.isatty():
        raise InvalidInput(f"{question} nobody can be asked here", hint="say --yes")
    click.confirm(question, abort=True, err=True)


def _retry(opened: Session, options: Options, runs: Sequence[str]) -> list[Retried]:
    done: list[Retried] = []
    with click.progressbar(length=len(runs), label="Retrying", file=sys.stderr, hidden=len(runs) <= MAX_BATCH or options.json) as bar:
        for at in range(0, len(runs), MAX_BATCH):
            batch = opened.perform(retry_runs(opened.keys, opened.settings, runs[at : at + MAX_BATCH]))
            done += batch
            if options.json:
                for document in opened.perform(read_runs(opened.keys, [item.run for item in batch if item.error is None])):
                    if isinstance(document, dict):
                        output.line(document)
            bar.update(len(batch))
    return done
