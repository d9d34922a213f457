"""`Member`: a run that is in progress beside others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskq.worker.executor.versions import Loaded


class Member:
    """One run.

    Attributes:
        number, order, loaded: what it is.
        why: why it was told to stop, or None; ``strikes``: how often.
        task: its asyncio task, or None. ``children``: asyncio tasks that it has created and that have not ended.
        strand: the thread that it is on, or None.
    """

    __slots__ = ("children", "loaded", "number", "order", "strand", "strikes", "task", "why")

    def __init__(self, number: int, order: Sequence[Any], loaded: Loaded) -> None:
        self.number, self.order, self.loaded = number, order, loaded
        self.why: str | None = None
        self.strikes = 0
        self.task: Any = None
        self.children: set[Any] = set()
        self.strand: Any = None
