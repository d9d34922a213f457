"""Status of a run: RQ's words and ours."""

from __future__ import annotations

from typing import Final, Literal, get_args

from taskq.registry.errors import InvalidInput

Status = Literal["scheduled", "queued", "waiting", "running", "retrying", "succeeded", "failed", "cancelled"]

STATUSES: Final[tuple[Status, ...]] = get_args(Status)
TERMINAL: Final[frozenset[str]] = frozenset({"succeeded", "failed", "cancelled"})

# ``stopped`` is what RQ calls a job that a stock worker was told to kill; it ends up among the failed ones.
_FROM_RQ: Final[dict[str, Status]] = {
    "created": "waiting",
    "deferred": "waiting",
    "rate_limited": "waiting",
    "scheduled": "scheduled",
    "queued": "queued",
    "started": "running",
    "finished": "succeeded",
    "failed": "failed",
    "stopped": "failed",
    "canceled": "cancelled",
}


def from_rq(status: str, attempt: int = 0) -> Status:
    """Our status for RQ's.

    Args:
        status: as RQ stores it.
        attempt: how many attempts have begun; a scheduled run that had one is ``retrying``. A status that RQ may add
            one day counts as ``waiting``: it is neither running nor over.
    """
    if status == "scheduled" and attempt > 0:
        return "retrying"
    return _FROM_RQ.get(status, "waiting")


def check_status(value: str) -> Status:
    """``value`` if it is a status of ours.

    Raises:
        InvalidInput: it is not; names those that there are.
    """
    for status in STATUSES:
        if value == status:
            return status
    raise InvalidInput(f"status {value!r} is not one of {', '.join(STATUSES)}")
