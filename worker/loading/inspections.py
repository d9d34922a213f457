"""`Inspections`: answers requests to inspect a file here, where its distributions are installed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from taskq.registry import codec
from taskq.registry.errors import FormatUnknown
from taskq.registry.runtime.loop import Loop
from taskq.registry.runtime.server import Server
from taskq.registry.settings import Settings
from taskq.worker.link.protocol import ProtocolError
from taskq.worker.loading.trials import Throwaway, explain
from taskq.worker.pool.pool import Pool

log = logging.getLogger("taskq.worker")
_ANSWER_TTL = 60


class Inspections(Loop):
    """Takes requests when it is poked, one at a time; each is taken by one worker of the fleet."""

    def __init__(self, server: Server, pool: Pool, settings: Settings) -> None:
        super().__init__(server, "inspections")
        self._pool, self._timeout = pool, settings.load_timeout
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """There may be requests."""
        self._poked.set()

    async def run(self) -> None:
        keys = self.server.keys
        while True:
            self._poked.clear()
            while blob := await self.server.redis.lpop(keys.inspections):
                await self._answer(blob)
            await self._poked.wait()

    async def _answer(self, blob: Any) -> None:
        try:
            request = codec.loads(blob)
            name, source, file = str(request["id"]), bytes(request["source"]), str(request["file"])
        except (FormatUnknown, KeyError, TypeError) as error:
            log.warning("an inspection request is not readable: %s", error)
            return
        found = await self._inspect(source, file)
        key = self.server.keys.inspection(name)
        async with self.server.redis.pipeline(transaction=True) as pipe:
            pipe.rpush(key, codec.dumps(found))
            pipe.expire(key, _ANSWER_TTL)
            await pipe.execute()

    async def _inspect(self, source: bytes, file: str) -> dict[str, Any]:
        handle = await self._pool.spawn(Throwaway(self._pool))
        try:
            answer = await handle.inspect(source, file, self._timeout).answer
        except ProtocolError as error:
            return {"tasks": [], "error": str(error), "missing": None}
        finally:
            if not handle.dead:
                handle.kill()
        if answer is None or "died" in answer:
            return {"tasks": [], "error": explain(answer, self._timeout, late=handle.late), "missing": None}
        return answer
