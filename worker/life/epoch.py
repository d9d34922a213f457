"""`Epoch`: whether Redis still is the one that this worker has worked with, or came back without its state.

The first worker that finds no epoch draws one; it stays for ever. Another one, or none, means that all of it is gone: queues, leases and
registry. That must not be mistaken for leases that others took over: then the runs go on elsewhere and are killed here, while after
a loss of state nobody else has them.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

from taskq.registry.runtime.server import Server

log = logging.getLogger("taskq.worker")


class Epoch:
    """The epoch as this worker knows it.

    Args:
        server: whose. ``on_lost``: called each time that the state has been lost.

    Attributes:
        lost_at: when it was last seen that the state is gone, by Redis' clock; None if it never was.
    """

    def __init__(self, server: Server, on_lost: Callable[[], None]) -> None:
        self._server, self._on_lost = server, on_lost
        self._known: bytes | None = None
        self.lost_at: float | None = None

    def ask(self, pipe: Any) -> bytes:
        """Add the question to a pipeline; returns what is drawn if there is none, for `answered`."""
        drawn = uuid.uuid4().hex.encode()
        pipe.set(self._server.keys.epoch, drawn, nx=True, get=True)
        return drawn

    def answered(self, drawn: bytes, found: bytes | None) -> None:
        """Take in the reply."""
        epoch, before = found or drawn, self._known
        self._known = epoch
        if before in (None, epoch):
            return
        self.lost_at = self._server.now()
        log.error("Redis has lost its state: runs that are in progress go on, and their outcomes will be dropped")
        self._on_lost()

    async def check(self) -> None:
        """Ask now."""
        async with self._server.redis.pipeline(transaction=False) as pipe:
            drawn = self.ask(pipe)
            (found,) = await pipe.execute()
        self.answered(drawn, found)
