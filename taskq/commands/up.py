"""``up``: everything on one machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from taskq.cli import output, tables
from taskq.cli.configuration import queue_names, settings_of
from taskq.cli.options import Options, command
from taskq.registry.errors import InvalidInput
from taskq.up.keeper import Plan, Row, run_up

_COLORS = ("cyan", "magenta", "green", "yellow", "blue")


@command(
    "up",
    examples="""
    taskq up
    taskq up --workers 2 --executors 4
    taskq up --queues default,reports
    taskq up --redis-port 6390              # also on 127.0.0.1, with a generated password
    """,
)
@click.option("--workers", type=click.IntRange(min=0), default=1, show_default=True, metavar="N", help="Workers to run.")
@click.option("--executors", type=click.IntRange(min=1), default=2, show_default=True, metavar="N", help="Executors of each worker.")
@click.option("--queues", default="default", show_default=True, metavar="A,B", help="Queues that the workers serve.")
@click.option("--redis-port", type=click.IntRange(1, 65535), metavar="P", help="Let the server listen on 127.0.0.1:P as well.")
def up_command(options: Options, *, workers: int, executors: int, queues: str, redis_port: int | None) -> None:
    """Run everything on this machine: a Redis server, a scheduler and workers, in this folder.

    The server keeps its data in .taskq/ and listens on a socket there; every other command in this folder or below finds
    it. What dies is started again. Ctrl-C stops all of it; a second Ctrl-C does not wait for running tasks.
    """
    if options.redis:
        raise InvalidInput("`taskq up` runs a server of its own and takes no --redis", hint="for workers on another server: `taskq worker`")
    settings = settings_of(options)
    plan = Plan(Path.cwd(), settings.namespace, workers, executors, queue_names(queues), redis_port)
    raise click.exceptions.Exit(run_up(plan, Documents() if options.json else People()))


class People:
    """Tells people: a table of what runs where, then the lines of the children, each under its name."""

    def output(self, name: str, line: str) -> None:
        """A child's line, on stderr."""
        color = _COLORS[sum(name.encode()) % len(_COLORS)]
        click.echo(f"{click.style(f'{name} |', fg=color)} {output.printable(line)}", err=True)

    def died(self, name: str, why: str, delay: float) -> None:
        """Say so, and what follows."""
        output.warn(f"{name} ended ({why}); starting it again in {delay:.1f} s")

    def started(self, name: str, pid: int, *, again: bool) -> None:
        """Only a start after a death is news."""
        if again:
            output.note(f"{name} runs again (pid {pid})")

    def ready(self, rows: list[Row], late: list[str]) -> None:
        """The table, and what to do now."""
        tables.table("RUNS! PID> WHAT WHERE~", [(row.name, row.pid, row.what, row.where) for row in rows], empty="")
        if any("127.0.0.1" in row.where for row in rows):
            click.echo("\nThe server's password is in .taskq/up.json.")
        click.echo("\nIn a second terminal: taskq register FILE, then taskq run TASK --wait. Ctrl-C stops all of it.")
        for name in late:
            output.warn(f"{name} is not ready yet")
        sys.stdout.flush()

    def stopping(self, *, hurry: bool) -> None:
        """Say what is waited for."""
        output.note("\nNot waiting for running tasks." if hurry else "\nStopping: running tasks may finish; Ctrl-C again to not wait.")

    def stopped(self) -> None:
        """Say so."""
        output.note("Stopped.")


class Documents:
    """Tells programs: one document a line. What the children write goes to stderr."""

    def output(self, name: str, line: str) -> None:
        """A child's line, on stderr."""
        output.note(f"{name} | {line}")

    def died(self, name: str, why: str, delay: float) -> None:
        """A document of event ``died``."""
        output.line({"event": "died", "name": name, "why": why, "delay": delay})

    def started(self, name: str, pid: int, *, again: bool) -> None:
        """A document of event ``started`` or ``restarted``."""
        output.line({"event": "restarted" if again else "started", "name": name, "pid": pid})

    def ready(self, rows: list[Row], late: list[str]) -> None:
        """A document of event ``ready`` with what runs where."""
        processes = [{"name": row.name, "pid": row.pid, "what": row.what, "where": row.where} for row in rows]
        output.line({"event": "ready", "processes": processes, "late": late})

    def stopping(self, *, hurry: bool) -> None:
        """A document of event ``stopping``."""
        output.line({"event": "stopping", "hurry": hurry})

    def stopped(self) -> None:
        """A document of event ``stopped``."""
        output.line({"event": "stopped"})
