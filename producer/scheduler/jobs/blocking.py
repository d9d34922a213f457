"""The life of a `FleetScheduler` that serves its own jobs, over the blocking connection that it was made with.

A look asks for the lead, moves what is due, and says how long to sleep; the channel that wakes schedulers ends the sleep sooner. An
outage of Redis is waited out. SIGTERM and SIGINT raise SystemExit wherever it is, as in rq-scheduler: each step is one script, so
that none is left half done, and the lead and the record of its birth are given back on the way out.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from taskq.registry import clock
from taskq.registry.backoff import Backoff
from taskq.registry.errors import TaskqError
from taskq.registry.keys import Keys
from taskq.registry.runtime.server import is_outage
from taskq.registry.settings import Settings

log = logging.getLogger("taskq.scheduler")
_TROUBLE: Final = (RedisError, OSError, TaskqError)
_CONFIRMATION: Final = 5.0
_HEARTBEAT: Final = 1.0
# Looks that are asked for come no closer than this: a flood of messages costs 100 of them a second.
_GAP: Final = 0.01


class Living(Protocol):
    """What lives: a `FleetScheduler`."""

    connection: Any
    settings: Settings
    keys: Keys

    @property
    def key(self) -> str: ...
    def register_birth(self) -> None: ...
    def register_death(self) -> None: ...
    def heartbeat(self) -> None: ...
    def remove_lock(self) -> None: ...


class Life:
    """From birth to death.

    Args:
        scheduler: whose. ``look``: does what is due, told whether something may be due that was not there before; returns how
            long to sleep, in s.
    """

    def __init__(self, scheduler: Living, look: Callable[[bool], float]) -> None:
        self._scheduler, self._look = scheduler, look
        self._woken = True
        self._pubsub: Any = None
        self._backoff = Backoff(0.2, 4.0)
        self._beat_at = self._began = 0.0

    def live(self, *, once: bool = False) -> None:
        """Look, sleep, look again, until a signal raises SystemExit; ``once``: one look.

        Raises:
            ValueError: a scheduler of this name is alive.
        """
        self._scheduler.register_birth()
        with _ended_by_signals():
            try:
                if once:
                    self._look(True)
                while not once:
                    self._round()
            finally:
                self._close()
                for tidy in (self._scheduler.remove_lock, self._scheduler.register_death):
                    with contextlib.suppress(*_TROUBLE):  # Redis may be away: the lead and the record end by themselves
                        tidy()

    def _round(self) -> None:
        try:
            self._listen()
            self._began = clock.monotonic()
            woken, self._woken = self._woken, False
            pause = self._look(woken)
            self._heartbeat()
        except _TROUBLE as error:
            self._close()
            self._woken = True  # by what was not heard
            if self._backoff.failures == 0:
                log.warning("Redis is away (%s)" if is_outage(error) else "Redis refused (%s); it is tried again", error)
            time.sleep(self._backoff.next())
            return
        if self._backoff.failures:
            self._backoff.reset()
            log.warning("Redis is back")
        self._sleep(pause)

    def _heartbeat(self) -> None:
        now = clock.monotonic()
        if now < self._beat_at:
            return
        self._beat_at = now + _HEARTBEAT
        self._scheduler.heartbeat()
        if not self._scheduler.connection.exists(self._scheduler.key):
            self._scheduler.register_birth()  # it has expired in an outage

    def _listen(self) -> None:
        """Listen to the channel; what is published from now on is heard."""
        if self._pubsub is not None or not self._scheduler.settings.pubsub:
            return
        self._pubsub = self._scheduler.connection.pubsub()
        self._pubsub.subscribe(self._scheduler.keys.scheduler_wake)
        if self._pubsub.get_message(timeout=_CONFIRMATION) is None:
            raise RedisTimeoutError("the subscription was not confirmed")

    def _sleep(self, pause: float) -> None:
        if self._pubsub is None:
            time.sleep(pause)
            return
        deadline = clock.monotonic() + pause
        try:
            while (left := deadline - clock.monotonic()) > 0:
                if self._pubsub.get_message(timeout=left) is not None:
                    self._woken = True
                    time.sleep(max(0.0, self._began + _GAP - clock.monotonic()))
                    break
            while self._pubsub.get_message(timeout=0) is not None:
                self._woken = True  # one look serves all that have asked for one
        except _TROUBLE:  # the next look meets it again
            self._woken = True
            self._close()

    def _close(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with contextlib.suppress(*_TROUBLE):
                pubsub.close()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGINT and SIGTERM raise SystemExit in the body; other threads than the main one get no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        log.info("the scheduler shuts down")
        raise SystemExit

    earlier = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
