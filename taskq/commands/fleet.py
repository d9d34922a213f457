"""``workers``, ``drain``, ``queues`` and ``events``: what runs, what waits, what happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from taskq.cli import output
from taskq.cli.arguments import SECONDS, WORKER
from taskq.cli.options import Options, command
from taskq.cli.overview import queue_rows
from taskq.cli.session import Session, session
from taskq.cli.tables import STYLES, cell, console, table
from taskq.cli.words import ago, local
from taskq.registry.changes.draining import await_drain, request_drain
from taskq.registry.errors import FormatUnknown
from taskq.registry.model.change import Change, cloud_event
from taskq.registry.runs.logs import entries_of

_BLOCK = 2.0
_PAGE = 500
_START = b"0-0"
_TOLD = ("run", "revision", "version", "attempt", "reason", "who")  # of an event, to people


@command(
    "workers",
    examples="""
    taskq workers
    taskq workers --json | jq '.[] | select(.state == "gone")'
    """,
)
def workers_command(options: Options) -> None:
    """List the workers: what they serve, which revision they have applied, when they were last heard of."""
    with session(options) as opened:
        found = opened.registry.workers()
    if options.json:
        output.document(found)
        return
    rows = [
        (
            row["worker"],
            row["state"],
            ", ".join(row["queues"]),
            f"{row['running']}/{row['executors']}",
            len(row["loaded"]),
            row["revision"],
            row["host"],
            row["pid"],
            ago(row["heartbeat"]),
        )
        for row in found
    ]
    heads = "WORKER! STATE QUEUES BUSY> LOADED> REVISION> HOST PID> HEARD_OF"
    table(heads, rows, empty="no workers; `taskq worker` starts one, `taskq up` a server as well")


@command(
    "drain",
    examples="""
    taskq drain w1
    taskq drain w1 --timeout 10m            # its longest runs may take that long
    """,
)
@click.argument("worker", type=WORKER)
@click.option("--no-wait", is_flag=True, help="Don't wait until it has ended; only until it has confirmed.")
@click.option("--timeout", type=SECONDS, default=120.0, metavar="D", help="How long it may take to end.  [2m]")
def drain_command(options: Options, *, worker: str, no_wait: bool, timeout: float) -> None:
    """Have WORKER take no more runs, finish those that it has within their grace, hand back the rest, and end with exit code 0.

    As SIGTERM does, from anywhere. What runs it is not told of this: a supervisor of processes that starts it again (`taskq up`,
    a restart policy) gives a fresh one. Exit 3 if there is no such worker, 1 if it has not confirmed, or not ended, in time.
    """
    with session(options) as opened:
        report = opened.perform(request_drain(opened.keys, opened.settings, worker))
        state = opened.perform(await_drain(opened.keys, report, timeout, ended=not no_wait))
    if options.json:
        output.document({"worker": worker, "state": state})
    else:
        output.note(f"Worker {worker} has ended." if state == "gone" else f"Worker {worker} drains.")


@command("queues", examples="taskq queues")
def queues_command(options: Options) -> None:
    """List the queues: runs that wait, are due later, run, or are put aside since their task is paused; tasks on them; workers."""
    with session(options) as opened:
        found = opened.perform(queue_rows(opened.keys, opened.settings))
    if options.json:
        output.document(found)
        return
    rows = [
        (
            row["queue"],
            row["queued"],
            row["scheduled"],
            row["running"],
            row["parked"],
            row["tasks"],
            ", ".join(row["workers"]) or None,
        )
        for row in found
    ]
    table("QUEUE! QUEUED> SCHEDULED> RUNNING> PARKED> TASKS> WORKERS~", rows, empty="no queues; they come with the first task")
    for row in found:
        if (row["queued"] or row["scheduled"]) and not row["workers"]:
            output.warn(f"No worker serves {row['queue']}: `taskq worker --queues {row['queue']}`")


@command(
    "events",
    examples="""
    taskq events                            # how runs end
    taskq events --changes                  # changes of the registry
    taskq events --last 20 --json | jq .type
    """,
)
@click.option("--changes", is_flag=True, help="Changes of the registry instead of the runs' life.")
@click.option("--last", type=click.IntRange(min=0), default=0, metavar="N", help="Print the last N first.")
@click.option("--no-follow", is_flag=True, help="End after what is there already (with --last).")
def events_command(options: Options, *, changes: bool, last: int, no_follow: bool) -> None:
    """Stream what happens, one event a line: CloudEvents with --json.

    Which events there are is TASKQ_EVENTS of the workers: off, outcomes (as a rule) or all.
    """
    with session(options) as opened:
        for event in _events(opened, changes=changes, last=last, follow=not no_follow):
            if options.json:
                output.line(event)
            else:
                _print_event(event)


def _events(opened: Session, *, changes: bool, last: int, follow: bool) -> Iterator[dict[str, Any]]:
    """CloudEvents of a stream: the last ones, then each as it comes. Read from the stream, so that none is missed."""
    stream = opened.keys.changelog if changes else opened.keys.events
    newest = opened.ask("XREVRANGE", stream, "+", "-", "COUNT", max(last, 1))
    position = newest[0][0] if newest else _START
    for entry, fields in reversed(newest[:last]):
        yield _event(opened, entry, fields)
    if follow:
        output.note("Waiting for events; Ctrl-C ends.")
    block = int(min(_BLOCK, opened.settings.socket_timeout / 2) * 1000)
    while follow:
        for entry, fields in entries_of(opened.ask("XREAD", "COUNT", _PAGE, "BLOCK", block, "STREAMS", stream, position)):
            position = entry
            yield _event(opened, entry, fields)


def _event(opened: Session, entry: bytes, fields: Any) -> dict[str, Any]:
    try:
        if b"change" in fields:
            return cloud_event(Change.load(fields[b"change"]), opened.settings.namespace)
        event = json.loads(fields[b"event"])
    except (FormatUnknown, ValueError, KeyError):
        return {"specversion": "1.0", "id": entry.decode(), "source": f"taskq/{opened.settings.namespace}", "type": "taskq.unreadable"}
    return {"id": entry.decode(), **event}


def _print_event(event: dict[str, Any]) -> None:
    data = event.get("data") or {}
    kind = str(event["type"]).removeprefix("taskq.")
    told = [f"{name}={data[name]}" for name in _TOLD if data.get(name) not in (None, "")]
    named = event.get("subject") or ", ".join(item["task"] for item in data.get("tasks", ()))
    tail = data.get("error") or data.get("why") or ""
    line = cell(f"{(local(event.get('time')) or '')[-8:]}  ")
    line.append(kind.ljust(22), style=STYLES.get(kind.rpartition(".")[2], ""))
    line.append(output.printable("  ".join([named, *told, str(tail).splitlines()[-1] if tail else ""])))
    console().print(line, soft_wrap=True)
