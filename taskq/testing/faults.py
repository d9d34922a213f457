"""Failures on purpose: what is to go wrong with the next runs of a task."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NoReturn

from taskq.registry.errors import InvalidInput
from taskq.worker.executor.versions import Loaded

MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one attempt.

    ``fail``: the task's code raises ``error`` in place of being called. ``late``: it is stopped by its timeout before its first
    line. ``lost``: its worker is lost, before its code began or, with ``done``, when the code has ended and nothing is recorded
    yet.
    """

    kind: Literal["none", "fail", "late", "lost"]
    error: BaseException | type[BaseException] | None = None
    done: bool = False

    def on(self, loaded: Loaded) -> Loaded:
        """The version with this fault."""
        if self.kind != "fail":
            return loaded

        def body(**_params: Any) -> NoReturn:
            assert self.error is not None  # noqa: S101  # a fault of this kind has one
            raise self.error

        return replace(loaded, body=body, convert=None)


class Faults:
    """What is planned, by task; each is taken by one attempt, in order."""

    def __init__(self) -> None:
        self._planned: dict[str, deque[Fault]] = {}

    def plan(self, task: str, fault: Fault, times: int) -> None:
        """Have the next ``times`` attempts of ``task`` meet this fault, after those planned before; raises `InvalidInput`."""
        if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= MOST:
            raise InvalidInput(f"times={times!r} must be a whole number from 1 to {MOST}")
        self._planned.setdefault(task, deque()).extend([fault] * times)

    def take(self, task: str) -> Fault | None:
        """The fault of the attempt that begins now."""
        planned = self._planned.get(task)
        return planned.popleft() if planned else None
