"""`Conversation`: the client side of a peer that has a virtual environment of its own: a child process and lines of JSON.

The other end, and what the lines say, is `benchmarks.clients.speaker`.
"""

from __future__ import annotations

import json
import os
import select
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchError
from benchmarks.processes import Process

_PATIENCE = 300.0


class Conversation:
    """A `Face` whose calls are answered by another process.

    Args:
        process: that was started with pipes. ``name``: of the peer, for messages.
        patience: how long an answer may take, in seconds.

    Attributes:
        enqueued: how many runs were, so far.

    Raises:
        BenchError: the program does not come up.
    """

    def __init__(self, process: Process, name: str, patience: float = _PATIENCE) -> None:
        self._process, self._name, self._patience = process, name, patience
        self._rest = b""
        self.enqueued = 0
        self._hear()

    def calls(self, job: str, count: int) -> list[float]:
        taken = list(self._ask("calls", job, count))
        self.enqueued += count
        return taken

    def many(self, job: str, count: int) -> Sequence[float]:
        taken = tuple(self._ask("many", job, count))
        self.enqueued += count
        return taken

    def sample(self, timeout: float) -> Sequence[float]:
        found = tuple(self._ask("sample", timeout))
        self.enqueued += 1
        return found

    def values(self, first: int, count: int, step: int, timeout: float) -> list[Any]:
        return list(self._ask("values", first, count, step, timeout))

    def close(self) -> None:
        """It ends when nobody speaks to it any more; whoever started it sees to that."""
        self._process.pipes[0].close()

    def _ask(self, call: str, *args: Any) -> Any:
        try:
            self._process.pipes[0].write(json.dumps({"call": call, "args": args}).encode() + b"\n")
            self._process.pipes[0].flush()
        except OSError as error:
            raise BenchError(f"{self._name}: its client program has ended\n{self._process.last_words()}") from error
        return self._hear()

    def _hear(self) -> Any:
        line = self._line()
        try:
            document = json.loads(line)
            if "error" in document:
                raise BenchError(f"{self._name}: its client program says\n{document['error'].strip()}")
            return document["value"]
        except (ValueError, TypeError, KeyError) as error:
            raise BenchError(f"{self._name}: its client program wrote {line[:200]!r}, which is no answer") from error

    def _line(self) -> bytes:
        answers = self._process.pipes[1]
        while b"\n" not in self._rest:
            if not select.select([answers], [], [], self._patience)[0]:
                raise BenchError(f"{self._name}: its client program has not answered for {self._patience:g} s")
            part = os.read(answers.fileno(), 1 << 20)  # what is there, without waiting for more
            if not part:
                raise BenchError(f"{self._name}: its client program has ended\n{self._process.last_words()}")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def environment(url: str, jobs: Path, program: Path, **more: str) -> dict[str, str]:
    """Of a peer's processes: where the server is, and where the jobs and the client programs are found."""
    return {"BENCH_URL": url, "PYTHONPATH": f"{program}:{jobs}", **more}
