"""``run``: enqueue a run and, where wanted, wait for its result."""

from __future__ import annotations

from typing import Any

import click

from taskq.cli import output
from taskq.cli.arguments import SECONDS, TASK, VERSION, read_object, split_params
from taskq.cli.options import Options, command
from taskq.cli.session import Session, session
from taskq.cli.words import due_words
from taskq.producer import Run
from taskq.producer.due import due
from taskq.registry.code.validation import Validator
from taskq.registry.errors import NotFound, RunFailed, TaskqError, WaitTimeout
from taskq.registry.model.record import TaskRecord, VersionRecord
from taskq.registry.model.spec import Parameters


@command(
    "run",
    examples="""
    taskq run sync_inventory                              # prints the run's id
    taskq run sync_inventory region=us --wait             # prints the result
    taskq run report days:=7 tags:='["a", "b"]' --wait --timeout 30s
    taskq run report --args '{"days": 7}' --key report-2026-11-22
    taskq run report --version 3 --json
    taskq run report --in 1h30m                           # prints the run's id; it runs then
    taskq run report --at 2026-12-01T09:00+01:00 --key report-december
    taskq run report --in 10s --wait --timeout 1m         # the minute counts from now
    """,
)
@click.argument("task", type=TASK)
@click.argument("params", nargs=-1, metavar="[K=V | K:=JSON]...")
@click.option("--args", metavar="JSON", help="Parameters as one JSON object; single ones on the line win.")
@click.option("--wait", is_flag=True, help="Wait for the end and print the result; exit 1 if the run fails.")
@click.option("--timeout", type=SECONDS, metavar="S", help="How long --wait waits, from now on; the run goes on.  [no limit]")
@click.option("--key", metavar="K", help="Idempotency key: one key gives one run, until a day after it is due.")
@click.option("--version", type=VERSION, metavar="V", help="Run this version instead of the routed one.")
@click.option("--pin", is_flag=True, help="Keep to the version that is stable now.")
@click.option("--at", metavar="T", help="Run it at this time: ISO 8601 with a zone, such as 2026-12-01T09:00+01:00.")
@click.option("--in", "in_", metavar="D", help="Run it after this time: seconds, or text such as 90s and 1h30m.")
def run_command(options: Options, *, task: str, params: tuple[str, ...], args: str | None, **given: Any) -> None:
    """Enqueue a run of TASK.

    K=V is converted to the type that the task declares for K (1.10 for a str stays 1.10); K:=JSON is taken as it is.
    """
    due(given["at"], given["in_"], names=("--at", "--in"))
    if given["timeout"] is not None and not given["wait"]:
        raise click.UsageError("--timeout says how long --wait waits: give both, or neither.")
    texts, values = split_params(params)
    with session(options) as opened:
        base = read_object("--args", args) if args else {}
        wanted = base | _converted(opened, task, given["version"], texts) | values
        chosen = {name: given[name] for name in ("key", "version", "pin", "at", "in_")}
        run = opened.client.options(**chosen).enqueue(task, **wanted)
        _warn_of_no_scheduler(opened, run)
        if given["wait"]:
            _wait(options, run, given["timeout"])
        else:
            _print_enqueued(options, run)


def _converted(opened: Session, task: str, version: int | None, texts: list[tuple[str, str]]) -> dict[str, Any]:
    """The values of ``k=v`` words by the version's signature; asks for it only where there are any."""
    return Validator(_parameters(opened, task, version)).from_text(texts) if texts else {}


def _parameters(opened: Session, task: str, version: int | None) -> Parameters:
    if version is not None:
        stored = opened.ask("HGET", opened.keys.versions(task), version)
        if stored is not None:
            return VersionRecord.load(stored).spec.parameters
    record = opened.ask("HGET", opened.keys.registry, task)
    if record is None:
        raise NotFound(f"there is no task {task}", hint="see `taskq list`, or register it with `taskq register FILE`")
    return TaskRecord.load(record).spec.parameters


def _print_enqueued(options: Options, run: Run[Any]) -> None:
    if options.json:
        document = {"run": run.id, "task": run.task, "version": run.version, "status": run.status}
        output.document(document | {"deduplicated": run.deduplicated})
        return
    click.echo(run.id)
    if run.deduplicated:
        output.note(f"The key stood for this run already; it is {run.status or 'over'}.")
    elif run.status == "scheduled":
        output.note(f"Due {due_words(run.due_at)}. `taskq cancel {run.id}` takes it back.")
    else:
        output.note(f"Enqueued. `taskq status {run.id}` shows how it goes.")


def _warn_of_no_scheduler(opened: Session, run: Run[Any]) -> None:
    if run.status == "scheduled" and not opened.ask("EXISTS", opened.keys.scheduler_lease):
        output.warn("No scheduler is alive: a run that is due later needs one. Start it with `taskq scheduler`, or `taskq up`.")


def _wait(options: Options, run: Run[Any], timeout: float | None) -> None:
    if not options.json:
        output.note(f"Run {run.id}" + (f", due {due_words(run.due_at)}" if run.status == "scheduled" else ""))
    try:
        run.wait(timeout)
    except RunFailed as error:
        if not options.json:
            raise _for_people(error) from error
        output.document(run.document)
        raise click.exceptions.Exit(error.exit_code) from error
    except WaitTimeout as error:
        if options.json:
            output.document(run.refresh().document)
        error.hint = f"it goes on: `taskq status {run.id}`, or `taskq cancel {run.id}` while it waits"
        raise
    except KeyboardInterrupt:
        output.note(f"\nNot waiting any more; the run goes on: `taskq status {run.id}`")
        raise
    if options.json:
        output.document(run.document)
    else:
        output.plain(run.result)


def _for_people(error: RunFailed) -> TaskqError:
    """The failure with its remote traceback above the sentence that says what to do."""
    said = TaskqError(output.printable(str(error)), hint=f"`taskq status {error.run}` and `taskq logs {error.run}` tell more")
    said.__cause__ = error
    return said
