"""The record of an attempt, as the list of a run's earlier attempts holds it."""

from __future__ import annotations

from taskq.registry import codec


def attempt_blob(
    attempt: int,
    worker: str | None,
    version: int | None,
    *,
    outcome: str,
    error: str | None,
    started_at: float | None,
    ended_at: float | None,
) -> bytes:
    """One attempt as a blob.

    Args:
        attempt: its number. ``worker``, ``version``: who ran what.
        outcome: a status, a reason, ``worker_lost``, ``executor_died`` or ``released``. ``error``: in one line, empty for none.
        started_at, ended_at: in seconds by Redis' clock.
    """
    return codec.dumps(
        {
            "attempt": attempt,
            "worker": worker,
            "version": version,
            "outcome": outcome,
            "error": error or None,
            "started_at": started_at,
            "ended_at": ended_at,
        }
    )
