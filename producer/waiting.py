"""Waiting for a run's end without polling: blocks on RQ's result stream of the run."""

from __future__ import annotations

from typing import Final

from taskq.registry import clock
from taskq.registry.backoff import pause
from taskq.registry.effects import Command, Op, Pause
from taskq.registry.errors import FormatUnknown, RunFailed, ServerUnreachable, TaskqError, WaitTimeout
from taskq.registry.keys import Keys
from taskq.registry.runs.document import RunDocument, read_run
from taskq.registry.runs.statuses import TERMINAL

LONGEST_BLOCK: Final = 2.0
"""Seconds that one blocking read takes at most; the status is looked at between two of them."""

_FIRST_PAUSE: Final = 0.5


def wait_for(keys: Keys, run: str, timeout: float | None = None, block: float = LONGEST_BLOCK) -> Op[RunDocument]:
    """The document of a run that has ended.

    A server that goes away while it waits is waited for as well; one that is away from the start is an error.

    Args:
        keys: of the namespace. ``run``: the run's id.
        timeout: how long to wait in seconds; None for as long as it takes.
        block: how long one read may block in seconds; must stay below the connection's socket timeout.

    Raises:
        NotFound: no such run, or its record has expired.
        WaitTimeout: it has not ended in time; it goes on.
        ServerUnreachable: no answer to the first look.
    """
    deadline = None if timeout is None else clock.monotonic() + timeout
    newest, document = yield from _look(keys, run)
    outages = 0
    while document["status"] not in TERMINAL:
        left = block if deadline is None else min(block, deadline - clock.monotonic())
        if left <= 0:
            raise WaitTimeout(f"run {run} has not ended within {timeout:g} s: it is {document['status']}", hint=f"see `taskq status {run}`")
        try:
            yield Command("XREAD", "BLOCK", max(1, int(left * 1000)), "COUNT", 1, "STREAMS", keys.rq_results(run), newest)
            newest, document = yield from _look(keys, run)
            outages = 0
        except ServerUnreachable:
            yield Pause(min(left, pause(outages, base=_FIRST_PAUSE)))
            outages += 1
    return document


def _look(keys: Keys, run: str) -> Op[tuple[bytes | str, RunDocument]]:
    """Id of the newest result, and the document; in this order, so that a read after the id misses nothing newer than the document."""
    entries = yield Command("XREVRANGE", keys.rq_results(run), "+", "-", "COUNT", 1)
    document = yield from read_run(keys, run)
    return (entries[0][0] if entries else "0-0"), document


def failure_of(document: RunDocument) -> TaskqError | None:
    """The error to raise for an ended run that has no result to return: `RunFailed`, or `FormatUnknown` where the result
    can't be read; None if it succeeded."""
    status, run, error = document["status"], document["run"], document["error"]
    if status == "succeeded":
        return FormatUnknown(f"run {run} of {document['task']} succeeded, but {error}") if error else None
    outcome = "was cancelled" if status == "cancelled" else f"failed: {document['reason']}"
    return RunFailed(f"run {run} of {document['task']} {outcome}", run=run, status=status or "", reason=document["reason"], error=error)
