"""``worker``: one process of the data plane, and the probe of its health."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

# As a package: `FleetWorker` is loaded by who runs one, not by the probe of its health, which is started each few seconds.
from taskq import worker as room
from taskq.cli.arguments import EXECUTORS, SECONDS, SIZE
from taskq.cli.configuration import queue_names, settings_of
from taskq.cli.logs import log_options, start_log
from taskq.cli.options import Options, command
from taskq.registry.errors import InvalidInput
from taskq.registry.names import check
from taskq.registry.runtime.health import MAX_AGE, ailment
from taskq.worker import foreign

_STRATEGIES = ("ordered", "round_robin", "random")
_COUNT = click.IntRange(min=1)


def rq_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that have the command serve RQ's own queues instead of ours."""

    @functools.wraps(function)
    def choose(options: Options, **values: Any) -> None:
        given = _given()
        if values["rq_serializer"] is None:
            rq = {name: values.pop(name) for name in ("rq_serializer", "with_scheduler", "exception_handler")}
            for name in rq:
                if name in given:
                    raise InvalidInput(f"{given[name]} is for RQ's queues: give --rq-serializer as well")
            function(options, **values)
            return
        service = foreign.Service.of(values, given)
        start_log(values["log_format"], verbose=values["verbose"], worker=service.name)
        raise click.exceptions.Exit(foreign.serve(settings_of(options), service))

    for option in (
        click.option(
            "--exception-handler", multiple=True, metavar="MODULE.FUNCTION", help="With --rq-serializer: called for each failed job."
        ),
        click.option("--with-scheduler", is_flag=True, help="With --rq-serializer: run RQ's scheduler as well, as `rq worker` does."),
        click.option(
            "--rq-serializer",
            type=click.Choice(("pickle", "json")),
            help="Serve RQ's own queues, whose jobs are written so, one at a time unless --executors says more. "
            "Who can write to Redis can then run code here.",
        ),
    ):
        choose = option(choose)
    return choose


def _given() -> dict[str, str]:
    """The options that stand on the command line: parameter → as it is written."""
    context = click.get_current_context()
    told = click.core.ParameterSource.COMMANDLINE
    return {p.name: p.opts[0] for p in context.command.params if p.name and context.get_parameter_source(p.name) is told}


@command(
    "worker",
    examples="""
    taskq worker
    taskq worker --queues mail,default --executors 4
    taskq worker --executors 1:8            # as many as the backlog needs
    taskq worker --burst                    # end when the queues are empty
    taskq worker --health-file /tmp/health
    taskq worker --check-health /tmp/health # a container's probe
    taskq worker --rq-serializer pickle --queues legacy   # in place of `rq worker legacy`
    TASKQ_REDIS_URL=redis://redis:6379 taskq worker --name w1
    """,
)
@click.option("--queues", default="default", show_default=True, metavar="A,B", help="Queues to serve, the most urgent first.")
@click.option("--strategy", type=click.Choice((*_STRATEGIES, "default")), default="ordered", help="Order of the queues.  [ordered]")
@click.option("--executors", type=EXECUTORS, metavar="N|MIN:MAX", help="Processes that run tasks.  [one a core]")
@click.option("--async-slots", type=click.IntRange(1, 10_000), metavar="N", help="Runs of async def tasks at once, in each process.  [100]")
@click.option("--name", metavar="X", help="Name of this worker.  [made from host and pid]")
@click.option("--burst", is_flag=True, help="End when the queues are empty.")
@click.option("--max-jobs", type=_COUNT, metavar="N", help="End after this many runs.")
@click.option("--max-idle", type=SECONDS, metavar="D", help="End after so long without a run.")
@click.option("--grace", type=SECONDS, metavar="D", help="What runs have once it is to stop.  [the longest grace of theirs, 10s at least]")
@click.option("--recycle-after", type=_COUNT, metavar="N", help="Replace an executor after about N runs.  [never]")
@click.option("--recycle-memory", type=SIZE, metavar="SIZE", help="Replace an executor that holds more, such as 512M.  [never]")
@click.option("--health-file", type=click.Path(path_type=Path), metavar="PATH", help="There while runs are taken; rewritten all the time.")
@click.option(
    "--check-health", type=click.Path(path_type=Path), metavar="PATH", help="Run none: exit 0 if the one that writes PATH is well."
)
@click.option("--max-age", type=SECONDS, default=MAX_AGE, metavar="D", help=f"How old PATH may be.  [{MAX_AGE:g}s]")
@log_options
@rq_options
def worker_command(
    options: Options, *, queues: str, check_health: Path | None, max_age: float, log_format: str, verbose: bool, **given: Any
) -> None:
    """Run a worker: a supervisor and its executor processes.

    SIGTERM or Ctrl-C lets running tasks finish within their grace and hands back the rest; a second one ends them at once. `taskq drain`
    does the same from afar. Executors are replaced without a gap: a fresh one is loaded before the old one finishes its run.

    Exit codes: 0 it has ended as it was asked to (a signal, drain, --burst, --max-jobs, --max-idle), or is well (--check-health) ·
    1 it failed, or is not well · 2 an option can't be · 4 a live worker has this name · 5 no Redis at the start.
    """
    if check_health is not None:
        _check(check_health, max_age)
        return
    name = check("worker", given.pop("name")) if given["name"] else given.pop("name")
    stops = {option: given.pop(option) for option in ("burst", "max_jobs", "max_idle")}
    settings, slots = settings_of(options), given.pop("async_slots")
    if slots is not None:
        settings = settings.model_copy(update={"async_slots": slots})
    worker = room.FleetWorker(queue_names(queues), settings=settings, name=name, dedicated=True, **given)
    start_log(log_format, verbose=verbose, worker=worker.name)
    raise click.exceptions.Exit(worker.work(**stops))


def _check(path: Path, max_age: float) -> None:
    wrong = ailment(path, max_age)
    if wrong is not None:
        click.echo(wrong, err=True)
        raise click.exceptions.Exit(1)
