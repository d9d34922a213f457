"""`Reports`: what the worker says of the versions it was asked to load. Kept here, written by the heartbeat."""

from __future__ import annotations

from taskq.registry.model.worker import LoadReport, load_field
from taskq.worker.pool.inbox import VersionKey


class Reports:
    """Load reports, and which of them Redis does not have yet."""

    def __init__(self) -> None:
        self._reports: dict[VersionKey, LoadReport] = {}
        self._dirty: set[VersionKey] = set()

    def put(self, report: LoadReport) -> None:
        """A version was loaded, or could not be."""
        key = (report.task, report.version)
        self._reports[key] = report
        self._dirty.add(key)

    def drop(self, key: VersionKey) -> None:
        """It is of no interest any more."""
        if self._reports.pop(key, None) is not None:
            self._dirty.add(key)

    def rewrite(self) -> None:
        """Redis has lost them: all are to be written again."""
        self._dirty.update(self._reports)

    def take(self) -> tuple[dict[str, bytes], list[str], set[VersionKey]]:
        """Fields to write, fields to delete, and what to give to `untake` should that fail."""
        taken, self._dirty = self._dirty, set()
        fields = {load_field(*key): self._reports[key].dump() for key in taken if key in self._reports}
        return fields, [load_field(*key) for key in taken if key not in self._reports], taken

    def untake(self, taken: set[VersionKey]) -> None:
        """What was taken was not written."""
        self._dirty |= taken
