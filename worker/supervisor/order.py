"""`Order`: in which order a claim looks at the queues; `Standstill`: when a look is not worth it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from taskq.registry import clock
from taskq.registry.errors import InvalidInput
from taskq.registry.runtime.server import Server

STRATEGIES: Final = ("ordered", "round_robin", "random")
# RQ's own words (`rq worker --dequeue-strategy`) where they differ.
_RQ: Final = {"default": "ordered"}
# How long nothing is claimed while nothing seems to change: at first, and at most.
_FIRST_REST, _LAST_REST = 5.0, 30.0


def check_strategy(value: str) -> str:
    """One of `STRATEGIES`; RQ's words are taken as well.

    Raises:
        InvalidInput: it is none of them.
    """
    named = _RQ.get(value, value)
    if named not in STRATEGIES:
        raise InvalidInput(f"strategy {value!r} is not one of {', '.join((*STRATEGIES, *_RQ))}")
    return named


class Order:
    """The queues in the order of one claim after the other.

    ``ordered``: the most urgent first, always. ``round_robin``: each claim begins behind the queue that the one before it began with.
    ``random``: shuffled each time. A claim takes as many runs as there is room for, from the first queue that holds some.

    Args:
        queues: the most urgent first. ``strategy``: one of `STRATEGIES`.
    """

    def __init__(self, queues: Sequence[str], strategy: str = "ordered") -> None:
        self.queues, self._strategy = tuple(queues), strategy
        self._turn = 0

    def next(self, *, in_turn: bool = False) -> tuple[str, ...]:
        """The queues for the next claim.

        Args:
            in_turn: not the most urgent one first, always: it holds nothing but runs that can't be started here.
        """
        if self._strategy == "random":
            return tuple(random.sample(self.queues, len(self.queues)))
        if self._strategy == "ordered" and not in_turn:
            return self.queues
        at, self._turn = self._turn, (self._turn + 1) % len(self.queues)
        return self.queues[at:] + self.queues[:at]


class Standstill:
    """Knows when all that the queues hold was claimed and put back, so that it need not be claimed over and over.

    Nothing is claimed then while the queues are as long as they were, and nothing has changed here that might let a run start. A run may
    have come in the place of another one, so that the queues are claimed again all the same: after 5 s, and then after ever longer rests
    of up to 30 s.

    Args:
        server: where. ``queues``: that are claimed from.
        prospects: says what can be started here; equal to what it said before where nothing of that has changed.
    """

    def __init__(self, server: Server, queues: Sequence[str], prospects: Callable[[], object]) -> None:
        self._server, self._queues, self._prospects = server, queues, prospects
        self._picture: tuple[dict[str, int], object] | None = None  # before the claims that are counted
        self._seen: Counter[str] = Counter()
        self._rest = _FIRST_REST
        self._until = 0.0

    async def holds(self) -> bool:
        """Whether a claim would be in vain; where not, those that follow are counted."""
        async with self._server.redis.pipeline(transaction=False) as pipe:
            for queue in self._queues:
                pipe.llen(self._server.keys.rq_queue(queue))
            lengths = dict(zip(self._queues, await pipe.execute(), strict=True))
        picture = (lengths, self._prospects())
        same = picture == self._picture
        if same and clock.monotonic() < self._until:
            return True
        if not same or self._until:
            self._rest = min(_LAST_REST, 2 * self._rest) if same else _FIRST_REST
            self._picture, self._seen, self._until = picture, Counter(), 0.0
        return False

    def put_back(self, queues: Iterable[str], *, more: bool) -> None:
        """A claim yielded nothing, or nothing but runs that were put back.

        Args:
            queues: of each of these runs. ``more``: whether the queues may have held more.
        """
        self._seen.update(queues)
        if self._picture is None or self._until or not any(self._picture[0].values()):
            return  # who waits for a run of empty queues waits there
        if not more or all(self._seen[queue] >= length for queue, length in self._picture[0].items()):
            self._until = clock.monotonic() + self._rest

    def over(self) -> None:
        """A run of these queues could be started."""
        self._picture, self._until = None, 0.0
