"""``scheduler`` and ``schedules``: the process that puts due runs on queues, and what is due when."""

from __future__ import annotations

import click

from taskq.cli import output
from taskq.cli.configuration import settings_of
from taskq.cli.logs import log_options, start_log
from taskq.cli.options import Options, command
from taskq.cli.session import session
from taskq.cli.tables import MANY, table
from taskq.cli.words import ago, local

# As a package: `FleetScheduler`, which loads RQ, is loaded when it is asked for, not by `taskq schedules`.
from taskq.producer import scheduler
from taskq.producer.scheduler.listing import read_schedules
from taskq.registry.runtime.schedulers import live_schedulers


@command(
    "scheduler",
    examples="""
    taskq scheduler
    taskq scheduler --name s2               # a second one stands by
    TASKQ_REDIS_URL=redis://redis:6379 taskq scheduler
    """,
)
@click.option("--name", metavar="X", help="Name of this scheduler.  [made from host and pid]")
@log_options
def scheduler_command(options: Options, *, name: str | None, log_format: str, verbose: bool) -> None:
    """Run a scheduler: it fires the tasks' schedules and starts delayed runs when they are due.

    Of several schedulers one leads and the others stand by. SIGTERM or Ctrl-C ends it and hands the lead on at once.
    """
    found = scheduler.FleetScheduler(settings=settings_of(options), name=name, registry=True)
    start_log(log_format, verbose=verbose, scheduler=found.name)
    found.run(dedicated=True)


@command(
    "schedules",
    examples="""
    taskq schedules
    taskq schedules --json | jq -r '.[] | select(.misfires > 0).task'
    """,
)
@click.option("--all", "everything", is_flag=True, help=f"All schedules; people see the first {MANY} otherwise.")
def schedules_command(options: Options, *, everything: bool) -> None:
    """List the schedules of all tasks: when they fire next, when they last fired, how many of their slots had no run."""
    with session(options) as opened:
        alive = opened.perform(live_schedulers(opened.keys, opened.settings))
        found = opened.perform(read_schedules(opened.keys, fired=bool(alive)))
    if options.json:
        output.document(found)
    else:
        shown = found if everything else found[:MANY]
        rows = [
            (row["task"], row["schedule"], _when(row["next"]), ago(row["last"]), row["misfires"], "paused" if row["paused"] else None)
            for row in shown
        ]
        empty = "no schedules; a task gets one by @task(every=…), cron=… or at=…"
        table("TASK! SCHEDULE! NEXT~ LAST MISFIRES> PAUSED", rows, empty=empty)
        if len(shown) < len(found):
            output.note(f"{len(shown)} of {len(found)}; --all shows all.")
    if found and not alive:
        output.warn("No scheduler runs, so nothing is fired: `taskq scheduler` starts one (`taskq up` as well)")


def _when(text: str | None) -> str | None:
    return f"{local(text)} ({ago(text)})" if text else None
