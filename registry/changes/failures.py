"""Remembers how the last rollouts of a task ended, failed ones above all: they leave no other trace."""

from __future__ import annotations

from typing import Any, Final, TypedDict

from taskq.registry import codec
from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import FormatUnknown
from taskq.registry.keys import Keys

_KEPT: Final = 20


class Outcome(TypedDict):
    """How a rollout ended. ``at`` in seconds since the epoch by Redis' clock, ``seconds`` how long it took."""

    at: float
    version: int | None
    revision: int
    state: str
    seconds: float | None
    errors: list[dict[str, str]]


def remember(keys: Keys, outcomes: dict[str, Outcome]) -> Op[None]:
    """Add an outcome to each task's list."""
    commands = []
    for task, outcome in outcomes.items():
        commands.append(Command("LPUSH", keys.rollouts(task), codec.dumps(dict(outcome))))
        commands.append(Command("LTRIM", keys.rollouts(task), 0, _KEPT - 1))
    if commands:
        yield Pipeline(commands)


def recent(keys: Keys, task: str) -> Op[list[dict[str, Any]]]:
    """The last outcomes of a task, newest first."""
    found = []
    for blob in (yield Command("LRANGE", keys.rollouts(task), 0, _KEPT - 1)):
        try:
            found.append(codec.loads(blob))
        except FormatUnknown:
            continue  # by another release: it helps nobody here
    return found
