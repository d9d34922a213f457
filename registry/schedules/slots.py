"""What a slot is called: the id of its run, and the cause that the run names."""

from __future__ import annotations

import hashlib
from typing import Final

from taskq.registry import clock

_LENGTH: Final = 32


def run_id(task: str, text: str, slot_ms: int) -> str:
    """The id of the run of one slot: the same for whoever computes it, so that a slot can't have two runs.

    Args:
        task: the task's name.
        text: the schedule's, see `Schedule.text`.
        slot_ms: the slot, in ms since the epoch.
    """
    return hashlib.sha256(f"{task}|{text}|{slot_ms}".encode()).hexdigest()[:_LENGTH]


def cause(text: str, slot_ms: int) -> str:
    """What the run of a slot names as its cause: ``every 30s@2026-11-22T17:41:30.000+00:00``.

    Args:
        text: the schedule's, see `Schedule.text`. ``slot_ms``: the slot, in ms since the epoch.
    """
    return f"{text}@{clock.iso(slot_ms / 1000)}"
