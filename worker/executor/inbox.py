"""What the supervisor has sent and the executor has not done yet: in order, except for what is urgent.

YIELD, CANCEL and DRAIN are acted upon when they are read, also from within the signal handler while a run executes: a run that
has not begun is then answered with `released` without its having to wait for the one before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from taskq.worker.executor.gate import Gate
from taskq.worker.executor.together.crew import Crew
from taskq.worker.link.protocol import Kind, Message

_URGENT: Final = frozenset((Kind.YIELD, Kind.CANCEL, Kind.DRAIN))


class Inbox:
    """The messages to work on, oldest first."""

    def __init__(self, gate: Gate, crew: Crew, hand_back: Callable[[int, str], None]) -> None:
        """
        Args:
            gate: is told of a CANCEL for the run in progress. ``crew``: of one for a run beside others.
            hand_back: called with number and cause (``yield``, ``drain``, or the ``why`` of a CANCEL) of a run that was
                queued here and will not begin.
        """
        self._gate, self._crew, self._hand_back = gate, crew, hand_back
        self._messages: deque[Message] = deque()
        self.draining = False

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def head(self) -> Message | None:
        """The next message, None if there is none."""
        return self._messages[0] if self._messages else None

    def take(self) -> Message:
        """The next message.

        Raises:
            IndexError: there is none.
        """
        return self._messages.popleft()

    def add(self, messages: Iterable[Message]) -> None:
        """Queue messages in their order, and act on the urgent ones."""
        for message in messages:
            if message.kind in _URGENT:
                self._act(message)
            elif self.draining and message.kind is Kind.RUN:
                self._hand_back(message.number, "drain")
            else:
                self._messages.append(message)

    def _act(self, message: Message) -> None:
        if message.kind is Kind.DRAIN:
            self.draining = True
            for queued in [waiting for waiting in self._messages if waiting.kind is Kind.RUN]:
                self._remove(queued, "drain")
            return
        why = str(message.body.get("why", "cancel")) if message.kind is Kind.CANCEL else "yield"
        if message.number == self._gate.current:
            if message.kind is Kind.CANCEL:
                self._gate.stop(why)
            return
        if message.number in self._crew:
            if message.kind is Kind.CANCEL and self._crew.stop(message.number, why):
                self._gate.aimed = message.number
            return
        for queued in self._messages:
            if queued.kind is Kind.RUN and queued.number == message.number:
                self._remove(queued, why)
                return

    def _remove(self, queued: Message, why: str) -> None:
        self._messages.remove(queued)
        self._hand_back(queued.number, why)
