"""`Logs`: the lines of runs on their way to their streams."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from redis.exceptions import RedisError

from taskq.registry.runtime.loop import Periodic
from taskq.registry.runtime.server import Server, is_outage
from taskq.worker.runs.recording import LogLine, log_commands, log_lines
from taskq.worker.runs.run import Run

log = logging.getLogger("taskq.worker")
_EVERY = 0.1
_BATCH = 1_000
# Lines that are held while Redis is away or slow; what comes beyond is counted and dropped. Outcomes matter more.
_MOST = 20_000


class Logs(Periodic):
    """Writes lines in one pipeline each tenth of a second, and before the outcome of a run."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, "logs", _EVERY)
        self._lines: list[LogLine] = []
        self._dropped = 0
        self._writing = asyncio.Lock()

    def add(self, run: Run, lines: Any) -> None:
        """Lines of a run, as an executor sent them; what is no line is left out."""
        for line in log_lines(run, lines):
            if len(self._lines) >= _MOST:
                self._dropped += 1
            else:
                self._lines.append(line)

    async def step(self) -> None:
        await self.flush()

    async def flush(self) -> None:
        """Write what is there.

        Raises:
            RedisError: Redis is away; the lines are kept.
        """
        if self._lines:
            async with self._writing:
                await self._write_all()
        if self._dropped:
            log.warning("%d log lines were dropped: they came faster than Redis took them", self._dropped)
            self._dropped = 0

    async def _write_all(self) -> None:
        while self._lines:
            batch = self._lines[:_BATCH]
            try:
                await self._write(batch)
            except RedisError as error:
                if is_outage(error):
                    raise
                # Lines are worth less than outcomes, which wait for this call: a full Redis drops them.
                log.warning("%d log lines are refused and dropped: %s", len(batch), error)
            del self._lines[: len(batch)]

    async def _write(self, batch: list[LogLine]) -> None:
        async with self.server.redis.pipeline(transaction=False) as pipe:
            for command in log_commands(batch, self.server.keys, self.server.settings):
                pipe.execute_command(*command)
            await pipe.execute()
