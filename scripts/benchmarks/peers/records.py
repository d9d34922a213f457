"""What the server records of runs, for taskq and RQ alike: a run of taskq is an RQ job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from redis import Redis
from rq import Queue
from rq.registry import FinishedJobRegistry
from rq.results import Result

_BATCH = 1000
_SUCCESSFUL = str(Result.Type.SUCCESSFUL.value).encode()


class Ended(NamedTuple):
    """What is recorded of a run: whether it succeeded, and how many results it has."""

    succeeded: bool
    results: int


class Records:
    """Reads what RQ's layout says of the runs of one queue.

    Args:
        client: a connection. ``queue``: RQ's name of it.
    """

    def __init__(self, client: Redis, queue: str) -> None:
        self._client = client
        self._queue = Queue(queue, connection=client)
        self._finished = FinishedJobRegistry(queue=self._queue)

    def waiting(self) -> int:
        """How many are queued."""
        return int(self._queue.count)

    def finished(self) -> int:
        """How many have succeeded."""
        return int(self._finished.get_job_count(cleanup=False))

    def ended(self, runs: Sequence[str]) -> list[Ended]:
        """The records of runs; one without a result counts as not succeeded."""
        found = []
        for at in range(0, len(runs), _BATCH):
            with self._client.pipeline(transaction=False) as pipe:
                for run in runs[at : at + _BATCH]:
                    pipe.xrevrange(Result.get_key(run))  # type: ignore[no-untyped-call]  # RQ leaves it untyped
                found += [_ended(entries) for entries in pipe.execute()]
        return found


def _ended(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> Ended:
    if not entries:
        return Ended(False, 0)
    _, fields = entries[0]
    return Ended(fields.get(b"type") == _SUCCESSFUL, len(entries))
