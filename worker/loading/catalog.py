"""`Catalog`: the versions that this worker knows of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from taskq.registry import clock
from taskq.registry.code.validation import Validator
from taskq.registry.model.record import VersionRecord
from taskq.worker.link.lanes import ALONE, Lane
from taskq.worker.pool.inbox import VersionKey

_RETRY_FIRST, _RETRY_LAST = 1.0, 60.0


@dataclass(slots=True, eq=False)
class Entry:
    """One version here.

    Attributes:
        state: see the package. ``error``: why it failed.
        record: None while it was never read. ``validator``: of its parameters.
        lane: what its runs may be in progress beside. ``body``: of its LOAD, with the source; None until it was fetched
            and its digest checked.
        users: runs of it that are in executors. ``used``: when the last one ended, monotonic.
        retry_at: not tried again before, monotonic.
    """

    key: VersionKey
    state: Literal["new", "ready", "failed"] = "new"
    record: VersionRecord | None = None
    validator: Validator | None = None
    lane: Lane = ALONE
    body: dict[str, Any] | None = None
    error: str = ""
    load_ms: float | None = None
    users: int = 0
    used: float = 0.0
    failures: int = 0
    retry_at: float = 0.0

    def ready(self, load_ms: float | None) -> None:
        """It was tried and works."""
        self.state, self.load_ms, self.error, self.failures = "ready", load_ms, "", 0

    def fail(self, error: str) -> None:
        """It can't be loaded: for a while it is not tried again."""
        delay = min(_RETRY_LAST, _RETRY_FIRST * 2.0**self.failures)
        self.state, self.error, self.failures = "failed", error, min(self.failures + 1, 16)
        self.retry_at = clock.monotonic() + delay

    @property
    def due(self) -> bool:
        """Whether it is worth another try."""
        return self.state == "new" or (self.state == "failed" and clock.monotonic() >= self.retry_at)


class Catalog:
    """Entries by (task, version)."""

    def __init__(self) -> None:
        self._entries: dict[VersionKey, Entry] = {}

    def get(self, key: VersionKey) -> Entry | None:
        """What is known of a version."""
        return self._entries.get(key)

    def entry(self, key: VersionKey) -> Entry:
        """The same, made if there is none."""
        found = self._entries.get(key)
        if found is None:
            found = self._entries[key] = Entry(key, used=clock.monotonic())
        return found

    def ask_again(self, task: str, versions: set[int]) -> None:
        """A change routes these: what failed before is tried at once, as its cause may be gone."""
        for version in versions:
            if (entry := self._entries.get((task, version))) is not None:
                entry.retry_at = 0.0

    def drop(self, key: VersionKey) -> None:
        """Forget a version."""
        self._entries.pop(key, None)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def states(self) -> list[tuple[VersionKey, str]]:
        """The versions, and how far each is."""
        return [(entry.key, entry.state) for entry in self._entries.values()]

    def ready(self) -> list[Entry]:
        """Versions that executors can be given."""
        return [entry for entry in self._entries.values() if entry.state == "ready"]
