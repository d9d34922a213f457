"""`Recorded`: the peers whose runs are RQ jobs, taskq and RQ itself; their client side is in this process."""

from __future__ import annotations

from abc import abstractmethod
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from benchmarks.errors import BenchError
from benchmarks.peers.peer import Face, Peer
from benchmarks.peers.records import Records
from benchmarks.processes import Processes
from benchmarks.server import Server

# Results that are read through the library; the records of all are read from the server.
_READ = 200
_TIMEOUT = 5


class Recorded(Peer):
    """Counts by what RQ's layout says.

    Attributes:
        distributions: whose versions are noted. ``queue``: RQ's name of the queue.
    """

    distributions: ClassVar[tuple[str, ...]]
    queue: ClassVar[str]

    def __init__(self, server: Server, processes: Processes) -> None:
        super().__init__(server, processes)
        self.records = Records(server.client, self.queue)

    @classmethod
    def versions(cls, environments: Path) -> dict[str, str]:  # noqa: ARG003  # these are installed beside us
        return {name: version(name) for name in cls.distributions}

    @abstractmethod
    def connect(self) -> Face: ...

    @abstractmethod
    def identities(self) -> list[str]:
        """The ids of all runs that were enqueued here."""

    def waiting(self) -> int:
        return self.records.waiting()

    def finished(self) -> int:
        return self.records.finished()

    def check(self, runs: int) -> None:
        ended = self.records.ended(self.identities())
        faults = [run for run in ended if not run.succeeded or run.results != 1]
        if faults or len(ended) != runs or self.finished() != runs or self.waiting():
            found = f"{self.finished()} have finished, {self.waiting()} wait, {len(faults)} have not exactly one good result"
            raise BenchError(f"{self.title}: of {runs} runs {found}")
        self.expect(self.face.values(0, runs, max(1, runs // _READ), _TIMEOUT))
