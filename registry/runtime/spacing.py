"""Connection attempts of a client, kept apart: at most two a second while nobody answers, however often it is called.

Programs call in loops, and redis-py tries more than once a call; a server that comes back must not find each of them knocking
a hundred times a second. Who calls too soon waits, and then tries: the call still says by its own outcome whether Redis is there.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, Final

from redis.exceptions import RedisError

from taskq.registry import clock

APART: Final = 0.5
"""Seconds from one attempt that failed to the next one."""


class Spacing:
    """When the next attempt may be made."""

    def __init__(self) -> None:
        self._failed = -math.inf

    def pause(self) -> float:
        """Seconds until then; 0 if the last attempt went well."""
        return max(0.0, self._failed + APART - clock.monotonic())

    def failed(self) -> None:
        """An attempt has failed."""
        self._failed = clock.monotonic()


class _Spaced:
    """Beside a blocking connection class of redis-py. One attempt is a connection and the first answers over it."""

    spacing: Spacing

    def connect_check_health(self, check_health: bool = True, **_manner: Any) -> None:
        if self._sock:  # type: ignore[attr-defined]  # of the class beside this one
            return
        time.sleep(self.spacing.pause())
        try:
            super().connect_check_health(check_health, retry_socket_connect=False)  # type: ignore[misc]  # as above
        except (RedisError, OSError):
            self.spacing.failed()
            raise


class _SpacedAsync:
    """Beside an asyncio connection class of redis-py."""

    spacing: Spacing

    async def connect_check_health(self, check_health: bool = True, **_manner: Any) -> None:
        if self.is_connected:  # type: ignore[attr-defined]  # of the class beside this one
            return
        await asyncio.sleep(self.spacing.pause())
        try:
            await super().connect_check_health(check_health, retry_socket_connect=False)  # type: ignore[misc]  # as above
        except (RedisError, OSError):
            self.spacing.failed()
            raise


def spaced(client: Any) -> Any:
    """The client itself; the attempts of its connections are apart from now on. One that is none of redis-py's own is left as it is."""
    pool = client.connection_pool
    kind = pool.connection_class
    if kind.__module__.startswith("redis."):
        beside = _SpacedAsync if kind.__module__.startswith("redis.asyncio") else _Spaced
        pool.connection_class = type(kind.__name__, (beside, kind), {"spacing": Spacing()})
    return client
