"""Leases of other workers (`Lease`), and from when on they are taken over (`Suspects`).

That a lease has expired doesn't say why. Its owner may be dead. Or Redis may have hung for a while, unnoticed: then all leases have
expired at once, and their owners renew them as soon as they can. So a lease is taken over only where two looks, at least a sweep apart,
have found that it was not renewed.

The first of the two need not wait for the expiry. An owner renews each ``lease_renew``; one that should have done so half of that time
ago is late (`late_within`), and its lease is a suspect from then on. Both looks are over by the time that the lease of a dead worker
expires, so that it runs again at once.

An outage of Redis starts the wait again: owners come back one after the other, each has a sweep's time for it. That does not hold for a
lease that was late before the outage: what was late already isn't late because of what came after. So a look that comes at least a sweep
after the sweeper's start and after the last outage is *calm*, and expired.lua notes in Redis what a calm look finds late. The note is
good for any sweeper, also for one that was started since; it ends with the next renewal, which moves the expiry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from taskq.registry import clock


def late_within(lease: float, lease_renew: float) -> float:
    """How soon a lease expires whose renewal is half a period late: ``lease_renew`` is at most half of ``lease``, all in seconds."""
    return lease - 1.5 * lease_renew


@dataclass(slots=True, frozen=True)
class Lease:
    """A lease as expired.lua lists it.

    Attributes:
        expiry: in ms by Redis' clock. ``left``: how many seconds after the look that is.
        noted: for how many seconds a calm look has known it to be late; 0 if none has.
    """

    run: str
    token: str
    worker: str
    origin: str
    task: str
    attempt: int
    losses: int
    version: int | None
    started_at: float | None
    cause: str | None
    expiry: int
    left: float
    noted: float = 0.0

    @classmethod
    def parse(cls, fields: list[bytes]) -> Lease:
        """From one row of the script's reply."""
        texts = [field.decode("utf-8", "replace") for field in fields]
        run, token, worker, origin, task, attempt, losses, version, started, cause, expiry, left, noted = texts
        return cls(
            run,
            token,
            worker,
            origin,
            task,
            int(attempt) if attempt.isdigit() else 0,
            int(losses) if losses.isdigit() else 0,
            int(version) if version.isdigit() else None,
            clock.rq_parse(started),
            cause or None,
            int(expiry),
            int(left) / 1000,
            int(noted) / 1000 if noted else 0.0,
        )

    def claimed_before(self, moment: float) -> bool:
        """Whether its run was claimed before a moment of Redis' clock, or nobody knows when."""
        return self.started_at is None or self.started_at < moment


@dataclass(slots=True)
class Suspects:
    """The leases that one sweeper has seen late. Pure: what time it is, is said by the caller, on a monotonic clock.

    Args:
        sweep: how far apart the two looks are at least, in seconds.

    Attributes:
        due: when the next of them may be taken over; infinite without any.
    """

    sweep: float
    due: float = math.inf
    # Since when, by run, token and expiry: a lease that was renewed in between is another one.
    _since: dict[tuple[str, str, int], float] = field(default_factory=dict)
    _there_since: float = math.inf

    def calm(self, now: float) -> bool:
        """Whether Redis has been there for a sweep, as far as this sweeper knows."""
        return now - self._there_since >= self.sweep

    def forget(self) -> None:
        """Redis was away, or it refuses what we ask of it and so perhaps what owners ask."""
        self._since.clear()
        self.due = self._there_since = math.inf

    def look(self, late: Iterable[Lease], asked: float, answered: float) -> list[Lease]:
        """Take in one look.

        Args:
            late: all leases that are late now. ``asked``, ``answered``: when the look was sent, and when its reply was there.

        Returns:
            Those to take over. Should that be in vain, they come again after another sweep.
        """
        self._there_since = min(self._there_since, answered)
        before, self._since, self.due = self._since, {}, math.inf
        lost = []
        for lease in late:
            key = (lease.run, lease.token, lease.expiry)
            since = before.get(key, answered - lease.noted)
            if lease.left < 0 and asked - since >= self.sweep:
                lost.append(lease)
                since = answered
            self._since[key] = since
            self.due = min(self.due, max(since + self.sweep, answered + lease.left))
        return lost
