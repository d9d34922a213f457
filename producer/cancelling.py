"""Cancelling a run and waiting until it has ended."""

from __future__ import annotations

from typing import Final

from taskq.producer.waiting import LONGEST_BLOCK, wait_for
from taskq.registry.effects import Op
from taskq.registry.errors import Conflict, WaitTimeout
from taskq.registry.keys import Keys
from taskq.registry.runs.cancellation import request_cancel
from taskq.registry.runs.document import RunDocument, read_run
from taskq.registry.settings import Settings

MARGIN: Final = 5.0
"""Seconds beyond a run's grace that its worker has by default: for a lost message, SIGKILL and the record."""


def cancel_and_wait(
    keys: Keys, settings: Settings, run: str, reason: str = "", *, wait: float | None = None, block: float = LONGEST_BLOCK
) -> Op[RunDocument]:
    """Cancel a run, whether it waits or runs, and return its document.

    Args:
        keys, settings: of the namespace.
        run: its id. ``reason``: what is recorded as the reason.
        wait: how long its worker may take to stop it, in seconds; None for the task's grace and `MARGIN`; 0 to ask only.
        block: how long one read may block in seconds.

    Raises:
        InvalidInput, NotFound: as `request_cancel`.
        Conflict: it has ended by itself, before it was asked or before it could be stopped.
        WaitTimeout: it was not confirmed in time. The request stands: it is cancelled as soon as its worker or, after that one's
            death, another one can.
    """
    grace = yield from request_cancel(keys, settings, run, reason)
    if grace is None or wait == 0:
        return (yield from read_run(keys, run))
    return (yield from confirm_cancelled(keys, run, grace + MARGIN if wait is None else wait, block))


def confirm_cancelled(keys: Keys, run: str, seconds: float, block: float = LONGEST_BLOCK) -> Op[RunDocument]:
    """Wait for the end of a run that was asked to stop; raises as `cancel_and_wait`."""
    try:
        document = yield from wait_for(keys, run, seconds, block)
    except WaitTimeout as error:
        raise WaitTimeout(
            f"run {run} was asked to stop, and its worker has not confirmed it within {seconds:g} s",
            hint=f"the request stands; see `taskq status {run}` for its worker, and `taskq workers` whether that one is alive",
        ) from error
    if document["status"] != "cancelled":
        raise Conflict(f"run {run} had ended before it could be stopped: {document['status']}", hint=f"see `taskq status {run}`")
    return document
