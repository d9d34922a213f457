"""`Outbox`: outcomes that Redis has not confirmed: those that wait to be sent, and those that are on their way. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from taskq.worker.runs.run import Run
from taskq.worker.runs.verdicts import Finish, Verdict

_BATCH, _BATCH_BYTES = 64, 4_000_000
# Outcomes, and bytes of theirs, beyond which nothing more is claimed.
_MOST, _MOST_BYTES = 2_000, 64_000_000

Item = tuple[Run, Verdict]
Batch = Sequence[Item]


class Outbox:
    """Holds outcomes in the order in which they came.

    Attributes:
        waiting: those that wait to be sent.
    """

    def __init__(self) -> None:
        self.waiting: list[Item] = []
        self._sent: list[Batch] = []
        self._bytes = 0

    def add(self, run: Run, verdict: Verdict) -> None:
        """Take in an outcome."""
        self.waiting.append((run, verdict))
        self._bytes += _size(verdict)

    def take(self, apart: Callable[[str], bool]) -> Batch:
        """The first ones that wait, as many as one call takes; they are on their way now.

        Args:
            apart: says of a run by its id that its outcome leaves in a call of its own.
        """
        size, items = 0, 0
        for run, verdict in self.waiting[:_BATCH]:
            size += _size(verdict)
            if items and (size > _BATCH_BYTES or apart(run.id)):
                break
            items += 1
        batch = self.waiting[:items]
        del self.waiting[:items]
        self._sent.append(batch)
        return batch

    def confirm(self, batch: Batch) -> None:
        """Redis has these."""
        self._forget(batch)
        self._bytes -= sum(_size(verdict) for _, verdict in batch)

    def put_back(self, batch: Batch) -> None:
        """Redis may not have these: they wait again, ahead of all others."""
        self._forget(batch)
        self.waiting[:0] = batch

    def _forget(self, batch: Batch) -> None:
        self._sent = [sent for sent in self._sent if sent is not batch]

    @property
    def on_the_way(self) -> bool:
        """Whether a call is under way."""
        return bool(self._sent)

    def runs(self) -> Iterator[Run]:
        """Those whose outcome is here."""
        return (run for batch in (*self._sent, self.waiting) for run, _ in batch)

    def __len__(self) -> int:
        return len(self.waiting) + sum(map(len, self._sent))

    @property
    def full(self) -> bool:
        """Whether so much is held that no more runs should be begun."""
        return len(self) >= _MOST or self._bytes >= _MOST_BYTES


def _size(verdict: Verdict) -> int:
    return len(verdict.result) + len(verdict.traceback) if isinstance(verdict, Finish) else 0
