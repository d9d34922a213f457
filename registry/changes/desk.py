"""`Desk`: what each operation on the registry works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from taskq.registry.effects import Op, run_sync
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

T = TypeVar("T")


@dataclass(frozen=True)
class Desk:
    """A connection, the namespace, and in whose name changes are made.

    ``progress`` is told in words what is waited for.
    """

    redis: Redis
    keys: Keys
    settings: Settings
    who: str
    progress: Callable[[str], None] = lambda _: None

    def perform(self, op: Op[T]) -> T:
        """Run an operation; errors of the connection become `ServerUnreachable`."""
        return run_sync(op, self.redis)
