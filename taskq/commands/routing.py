"""``promote``, ``rollback``, ``pause``, ``resume``, ``retire`` and ``rollout``: which version a task's runs get."""

from __future__ import annotations

import time
from typing import Any

import click

from taskq.cli import output
from taskq.cli.arguments import SECONDS, TASK, VERSION
from taskq.cli.changes import orderly_end, print_changes, print_failure
from taskq.cli.options import Options, command
from taskq.cli.session import Session, session
from taskq.cli.tables import table
from taskq.cli.words import ago, last_line
from taskq.registry import clock
from taskq.registry.errors import RolloutFailed

_LOOK = 0.2
_message = click.option("-m", "--message", default="", metavar="MSG", help="Why; kept in the audit.")
_stage_timeout = click.option("--stage-timeout", type=SECONDS, metavar="S", help="How long to wait for the workers.  [30 s]")
_max_unready = click.option("--max-unready", type=click.IntRange(min=0), default=0, metavar="N", help="Switch with N workers not ready.")
_if_revision = click.option("--if-revision", type=int, metavar="R", help="Only if the registry is at revision R; else exit 4.")


@command(
    "promote",
    examples="""
    taskq promote sync_inventory 4
    taskq promote sync_inventory 4 -m "reviewed" --stage-timeout 60
    """,
)
@click.argument("task", type=TASK)
@click.argument("version", type=VERSION)
@_message
@_stage_timeout
@_max_unready
def promote_command(options: Options, *, task: str, version: int, message: str, stage_timeout: float | None, max_unready: int) -> None:
    """Give the runs of TASK VERSION, once the workers have it loaded."""
    with session(options) as opened:
        try:
            with orderly_end():
                documents = opened.registry.promote(task, version, message=message, stage_timeout=stage_timeout, max_unready=max_unready)
        except RolloutFailed as error:
            raise print_failure(options, error) from error
    print_changes(options, documents)


@command(
    "rollback",
    examples="""
    taskq rollback sync_inventory -m "wrong totals"        # to the version before
    taskq rollback sync_inventory 2 -m "wrong totals"
    """,
)
@click.argument("task", type=TASK)
@click.argument("version", type=VERSION, required=False)
@click.option("-m", "--message", required=True, metavar="REASON", help="Why; kept in the audit.")
def rollback_command(options: Options, *, task: str, version: int | None, message: str) -> None:
    """Give the runs of TASK its earlier stable version, or VERSION.

    The version that is left counts as withdrawn: registering its content again needs --force.
    """
    with session(options) as opened:
        try:
            with orderly_end():
                documents = opened.registry.rollback(task, version, message=message)
        except RolloutFailed as error:
            raise print_failure(options, error) from error
    print_changes(options, documents)


@command("pause", examples='taskq pause sync_inventory -m "supplier is down"')
@click.argument("task", type=TASK)
@_message
@_if_revision
def pause_command(options: Options, *, task: str, message: str, if_revision: int | None) -> None:
    """Start no runs of TASK for now; they are still accepted, and wait."""
    with session(options) as opened:
        print_changes(options, opened.registry.pause(task, message=message, if_revision=if_revision))


@command("resume", examples="taskq resume sync_inventory")
@click.argument("task", type=TASK)
@_message
@_if_revision
def resume_command(options: Options, *, task: str, message: str, if_revision: int | None) -> None:
    """Start the runs of TASK again, those that waited first."""
    with session(options) as opened:
        print_changes(options, opened.registry.resume(task, message=message, if_revision=if_revision))


@command("retire", examples='taskq retire sync_inventory -m "replaced by orders.sync"')
@click.argument("task", type=TASK)
@_message
@_if_revision
def retire_command(options: Options, *, task: str, message: str, if_revision: int | None) -> None:
    """Withdraw TASK: nothing more is enqueued, and its queued runs are cancelled.

    The name can be registered again; its version numbers go on.
    """
    with session(options) as opened:
        print_changes(options, opened.registry.retire(task, message=message, if_revision=if_revision))


@command(
    "rollout",
    examples="""
    taskq rollout sync_inventory
    taskq rollout sync_inventory --wait --timeout 60
    """,
)
@click.argument("task", type=TASK)
@click.option("--wait", is_flag=True, help="Wait until each live worker has it.")
@click.option("--timeout", type=SECONDS, metavar="S", help="How long --wait waits.  [30 s]")
def rollout_command(options: Options, *, task: str, wait: bool, timeout: float | None) -> None:
    """Show which workers have applied the route of TASK; exit 1 unless each live one that serves it has."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout says how long --wait waits: give both, or neither.")
    with session(options) as opened:
        found = opened.registry.rollout(task)
        if wait and not found["converged"]:
            found = _converged(opened, task, opened.settings.stage_timeout if timeout is None else timeout)
    if options.json:
        output.document(found)
    else:
        _print_rollout(found)
    if not found["converged"]:
        raise click.exceptions.Exit(1)


def _converged(opened: Session, task: str, timeout: float) -> dict[str, Any]:
    """The rollout once it has converged, or as it stands when the time is over."""
    deadline = clock.monotonic() + timeout
    while True:
        found: dict[str, Any] = opened.registry.rollout(task)
        if found["converged"] or clock.monotonic() >= deadline:
            return found
        time.sleep(_LOOK)


def _print_rollout(found: dict[str, Any]) -> None:
    rows = [
        (row["worker"], row["state"], row["version"], row["revision"], _milliseconds(row["load_ms"]), last_line(row["error"]))
        for row in found["workers"]
    ]
    table("WORKER! STATE VERSION> REVISION> LOADED_IN> ERROR", rows, empty="no live worker serves this task's queue")
    if found["converged"]:
        taken = f" {found['seconds']:.1f} s after the change" if found.get("seconds") is not None else ""
        output.note(f"Revision {found['revision']} is everywhere{taken}.")
    else:
        output.warn(f"Revision {found['revision']} is not everywhere yet; `taskq rollout {found['task']} --wait` waits for it.")
    failure = found.get("failure")
    if failure:
        output.warn(f"The rollout of version {failure.get('version') or '?'} failed {_when(failure.get('at'))}:")
        for item in failure.get("errors") or []:
            output.note(f"  {item.get('worker') or 'inspection'}: {last_line(item.get('error'))}")


def _when(at: object) -> str:
    return ago(at) if isinstance(at, str) else "before"


def _milliseconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} ms"
