"""`Logs`: the lines of runs on their way to their streams.

An outcome waits for the lines of its own run and for no others: a run that logs without end holds up nobody. Lines are written in
small batches, so that neither this loop nor the server is busy with them for long.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from taskq.registry.runtime.loop import Periodic
from taskq.registry.runtime.server import Server, is_outage
from taskq.worker.runs.lines import LogLine, log_args, log_lines
from taskq.worker.runs.run import Run

log = logging.getLogger("taskq.worker")
_EVERY = 0.1
_BATCH = 200
# Lines and bytes that are held while Redis is away or slow; what comes beyond is counted and dropped. Outcomes matter more.
_MOST = 20_000
_MOST_BYTES = 32 * 1024 * 1024


@dataclass(slots=True)
class _Waiting:
    """Lines of one run that are not written yet, and how many were dropped behind them."""

    lines: deque[LogLine] = field(default_factory=deque)
    dropped: int = 0


class Logs(Periodic):
    """Writes lines each tenth of a second, and those of a run before its outcome."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, "logs", _EVERY)
        self._waiting: dict[str, _Waiting] = {}
        self._count = self._size = 0
        self._leaving: Collection[str] = ()  # runs whose lines a call is writing now
        self._writing = asyncio.Lock()

    def add(self, run: Run, lines: Any) -> None:
        """Lines of a run, as an executor sent them; what is no line is left out."""
        waiting = self._waiting.get(run.id)
        if waiting is None:
            waiting = self._waiting[run.id] = _Waiting()
        for line in log_lines(lines):
            if waiting.dropped or self._count >= _MOST or self._size >= _MOST_BYTES:
                waiting.dropped += 1
            else:
                waiting.lines.append(line)
                self._count += 1
                self._size += line.size

    async def step(self) -> None:
        await self.flush()

    def much(self, run: str) -> bool:
        """Whether more lines of a run wait than are written in one call."""
        waiting = self._waiting.get(run)
        return waiting is not None and len(waiting.lines) > _BATCH

    @property
    def crowded(self) -> bool:
        """Whether there may be such a run."""
        return self._count > _BATCH

    async def flush_part(self, run: str) -> None:
        """Write as many lines of a run as one call takes; raises as `flush`."""
        async with self._writing:
            await self._write(self._cut((run,)))

    async def flush(self, runs: Iterable[str] | None = None) -> None:
        """Write what is there of these runs, or of all; what another call is writing of these runs is waited for.

        Raises:
            RedisError: Redis is away; the lines are kept.
        """
        if not self._waiting and not self._leaving:
            return
        wanted = list(self._waiting) if runs is None else list(runs)
        while wanted := [run for run in wanted if run in self._waiting or run in self._leaving]:
            async with self._writing:
                await self._write(self._cut(wanted))

    def _cut(self, runs: Iterable[str]) -> dict[str, list[LogLine]]:
        """The next batch; a run that has no more lines, or whose rest was dropped, is done with it."""
        batch: dict[str, list[LogLine]] = {}
        room = _BATCH
        for run in runs:
            waiting = self._waiting.get(run)
            if waiting is None:
                continue  # another flush has just written them
            taken = [waiting.lines.popleft() for _ in range(min(room, len(waiting.lines)))]
            room -= len(taken)
            if not waiting.lines:
                del self._waiting[run]
                taken += self._told(waiting.dropped)
            batch[run] = taken
            if room <= 0:
                break
        return batch

    def _told(self, dropped: int) -> list[LogLine]:
        if not dropped:
            return []
        log.warning("%d log lines were dropped: they came faster than Redis took them", dropped)
        text = f"… {dropped} more lines were dropped: they came faster than Redis took them"
        line = LogLine(f"{self.server.now():.6f}", "WARNING", text)
        self._count += 1
        self._size += line.size
        return [line]

    async def _write(self, batch: dict[str, list[LogLine]]) -> None:
        batch = {run: lines for run, lines in batch.items() if lines}
        if not batch:
            return
        self._leaving = batch.keys()
        try:
            await self.server.call("log", *log_args(batch, self.server.keys, self.server.settings))
        except RedisError as error:
            if is_outage(error):
                self._put_back(batch)
                raise
            # Lines are worth less than outcomes, which wait for this call: a full Redis drops them.
            log.warning("%d log lines are refused and dropped: %s", sum(map(len, batch.values())), error)
        except asyncio.CancelledError:
            self._put_back(batch)
            raise
        finally:
            self._leaving = ()
        for lines in batch.values():
            self._count -= len(lines)
            self._size -= sum(line.size for line in lines)

    def _put_back(self, batch: dict[str, list[LogLine]]) -> None:
        for run, lines in batch.items():
            waiting = self._waiting.setdefault(run, _Waiting())
            waiting.lines.extendleft(reversed(lines))
