"""``worker``: one process of the data plane."""

from __future__ import annotations

import click

from taskq.cli.configuration import queue_names, settings_of
from taskq.cli.logs import log_options, start_log
from taskq.cli.options import Options, command
from taskq.registry.names import check
from taskq.worker import FleetWorker


@command(
    "worker",
    examples="""
    taskq worker
    taskq worker --queues mail,default --executors 4
    taskq worker --burst                    # end when the queues are empty
    TASKQ_REDIS_URL=redis://redis:6379 taskq worker --name w1
    """,
)
@click.option("--queues", default="default", show_default=True, metavar="A,B", help="Queues to serve, the most urgent first.")
@click.option("--executors", type=click.IntRange(min=1), metavar="N", help="Processes that run tasks.  [one a core]")
@click.option("--name", metavar="X", help="Name of this worker.  [made from host and pid]")
@click.option("--burst", is_flag=True, help="End when the queues are empty.")
@click.option("--max-jobs", type=click.IntRange(min=1), metavar="N", help="End after this many runs.")
@log_options
def worker_command(
    options: Options,
    *,
    queues: str,
    executors: int | None,
    name: str | None,
    burst: bool,
    max_jobs: int | None,
    log_format: str,
    verbose: bool,
) -> None:
    """Run a worker: a supervisor and its executor processes.

    SIGTERM or Ctrl-C lets running tasks finish within their grace and hands back the rest; a second one ends them at once.
    """
    named = check("worker", name) if name else None
    worker = FleetWorker(queue_names(queues), settings=settings_of(options), name=named, executors=executors, dedicated=True)
    start_log(log_format, verbose=verbose, worker=worker.name)
    raise click.exceptions.Exit(worker.work(burst=burst, max_jobs=max_jobs))
