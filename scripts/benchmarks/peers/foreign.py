"""`Foreign`: the peers that run in a virtual environment of their own."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.errors import BenchError
from benchmarks.peers import environments
from benchmarks.peers.conversation import Conversation, environment
from benchmarks.peers.peer import Peer, Setup
from benchmarks.processes import Process

_ROOT = Path(__file__).resolve().parents[2]
_JOBS = Path(__file__).resolve().parents[1] / "jobs"
_RESULTS = 1
_TIMEOUT = 10


class Foreign(Peer):
    """Speaks to the client program of a library, and counts by what the library keeps on the server.

    Attributes:
        library: names its client program, its environment and its requirements. ``distributions``: whose versions are noted.
        setups: the program of a command line is one of its environment, by its name.
        reads: how many results of a drain are read through the library, at least, if there are as many.
        folder: of the environments; set once, before the first one is made.
    """

    library: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]]
    reads: ClassVar[int] = 1_000_000
    folder: ClassVar[Path] = environments.FOLDER

    face: Conversation

    @classmethod
    def versions(cls, environments_: Path) -> dict[str, str]:
        return environments.versions(environments_, cls.library, cls.distributions)

    def connect(self) -> Conversation:
        python = environments.python(self.folder, self.library)
        argv = [python, "-P", "-m", "benchmarks.clients", self.library, self.server.url]
        return Conversation(self.processes.start("client", argv, pipes=True, **self._environment("default")), self.title)

    def prepare(self) -> None:
        """The worker imports the jobs."""

    def start_worker(self, setup: Setup = "default") -> Process:
        program, *options = self.setups[setup].argv
        path = environments.python(self.folder, self.library).with_name(program)
        return self.processes.start("worker", [path, *options], **self._environment(setup))

    def check(self, runs: int) -> None:
        if self.face.enqueued != runs or self.finished() != runs or self.waiting():
            raise BenchError(f"{self.title}: of {runs} runs {self.finished()} have finished, {self.waiting()} wait")
        if self.stores:
            self.expect(self.face.values(0, runs, max(1, runs // self.reads), _TIMEOUT))

    def results(self) -> int:
        """How many keys the database of the results has, for a library that keeps them in one of their own."""
        return int(self.server.in_database(_RESULTS).dbsize())

    def all_but(self, left: int) -> int:
        """How many have ended, for a library whose records of a run go when it ends: those that were enqueued but for these."""
        return self.face.enqueued - left

    def _environment(self, setup: Setup) -> dict[str, str]:
        stores = {"BENCH_RESULTS": "1"} if self.stores else {}
        return environment(self.server.url, _JOBS, _ROOT, **stores, **self.setups[setup].environ)
