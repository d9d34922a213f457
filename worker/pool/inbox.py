"""`Inbox`: what an executor was asked and has not answered, and how far each request is: by the rules that the executor goes by, too."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from taskq.registry import clock
from taskq.worker.link.lanes import Lane, Lanes
from taskq.worker.link.page import Page
from taskq.worker.link.protocol import Kind
from taskq.worker.runs.run import Run

VersionKey = tuple[str, int]


@dataclass(slots=True, eq=False)
class Ask:
    """A request that is no run: LOAD or INSPECT.

    ``answer`` gets the body of what it is answered; ``{"ok": False, "died": returncode}`` if the executor died of it, None
    if it died of something else. ``deadline``: when it is late, monotonic.
    """

    kind: Kind
    timeout: float
    version: VersionKey | None = None
    answer: asyncio.Future[dict[str, Any] | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    deadline: float = math.inf


Request = Run | Ask


class Fate(Enum):
    """How far a request was when its executor died."""

    CRASHED = "it was in progress, and nothing beside it"
    BEGUN = "it had begun: beside others, or it has ended and its outcome is lost"
    WAITED = "it had not begun"


Left = tuple[Request, Fate]


class Inbox:
    """The requests of one executor.

    Attributes:
        inbox: what was asked and not answered, by number. ``begun``: what of it is in progress; ``lanes`` counts it.
        runs: how many runs are in the inbox.
        struck: how many of those in progress were told to stop.
        deadline: no request in progress is late before, monotonic; infinite if none ever is.
    """

    def __init__(self) -> None:
        self.inbox: dict[int, Request] = {}
        self.begun: dict[int, Request] = {}
        self.lanes = Lanes()
        self.runs = 0
        self.struck = 0
        self.deadline = math.inf
        self._waiting: deque[int] = deque()  # what has not begun; who was answered all the same is skipped

    @property
    def head(self) -> Request | None:
        """What it works on now; of several the one that began first."""
        return next(iter(self.begun.values()), None)

    @property
    def crowded(self) -> bool:
        """Whether anything waits here for what is in progress."""
        return bool(self._waiting)

    def queued(self, lane: Lane) -> int | None:
        """How many runs of this lane wait here for one of its slots; None if anything else waits, which they would hold up."""
        for number in self._waiting:
            request = self.inbox.get(number)
            if request is not None and (not isinstance(request, Run) or request.lane != lane):
                return None
        return len(self._waiting)

    @property
    def waiting(self) -> list[int]:
        """The runs that have not begun, by number."""
        return [number for number in self._waiting if isinstance(self.inbox.get(number), Run)]

    def on_begun(self) -> None:
        """A request began; the deadline may be sooner now."""

    def enqueue(self, number: int, request: Request) -> None:
        """It was asked; it begins if nothing is in its way."""
        self.inbox[number] = request
        if self._waiting or not self._may_begin(request):
            self._waiting.append(number)
        else:
            self._begin(number, request, clock.monotonic())

    def _may_begin(self, request: Request) -> bool:
        return self.lanes.free(request.lane) if isinstance(request, Run) else not self.lanes.alone

    def _begin(self, number: int, request: Request, now: float) -> None:
        self.begun[number] = request
        request.deadline = now + request.timeout
        if isinstance(request, Run):
            if request.stop is not None:  # it was told to stop before, and has begun all the same
                request.deadline = now
            request.began = now
            self.lanes.enter(request.lane)
        else:
            self.lanes.alone = True  # it keeps the main thread from everything else
        self.deadline = min(self.deadline, request.deadline)
        self.on_begun()

    def end(self, number: int, request: Request) -> None:
        """It was answered."""
        del self.inbox[number]
        if isinstance(request, Run):
            self.runs -= 1
        if self.begun.pop(number, None) is None:
            return
        if isinstance(request, Run):
            self.lanes.leave(request.lane)
            self.struck -= request.stage > 0
        else:
            self.lanes.alone = False
        if not self.begun:
            self.deadline = math.inf

    def advance(self, now: float) -> None:
        """Something was answered: what follows begins."""
        waiting = self._waiting
        while waiting:
            request = self.inbox.get(waiting[0])
            if request is not None:
                if not self._may_begin(request):
                    return
                self._begin(waiting[0], request, now)
            waiting.popleft()

    def fates(self, page: Page) -> list[Left]:
        """How far each request was: its executor has written down what it began."""
        begun, ended = page.begun, page.ended
        # The one that was alone in the executor when it died, if any was; a solo one also where it has ended and its outcome is lost.
        crashed = begun if begun != ended else 0
        last = self.inbox.get(crashed)
        if not isinstance(last, Ask) and (last is None or last.lane.name):
            together = [
                number
                for number, request in self.inbox.items()
                if number <= begun and isinstance(request, Run) and (request.lane.name or request.solo)
            ]
            crashed = together[0] if len(together) == 1 else 0
        left: list[Left] = []
        for number, request in self.inbox.items():
            fate = Fate.WAITED if number > begun else Fate.CRASHED if number == crashed else Fate.BEGUN
            if fate is not Fate.WAITED and isinstance(request, Run) and not request.began:
                request.began = clock.monotonic()
            left.append((request, fate))
        return left
