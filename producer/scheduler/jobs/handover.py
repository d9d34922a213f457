"""Handing jobs of `FleetScheduler` that are due to their queues: one step of a script a job, over any connection.

The jobs stand in a sorted set, scored by when they are due. `Mover` reads its head, says of each due job when it is due next,
and has ``handover.lua`` put the job in its queue and the next time in place of this one: all of it or nothing. The script
compares time and record with what was read, so that a job is never handed over twice for one time, whoever leads and
whatever was killed; the lead only keeps two from doing the same work.

Nothing of a job is read but its record, and nothing is unpickled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from taskq.producer.scheduler.jobs.repeats import Repeat
from taskq.producer.scheduler.jobs.times import text
from taskq.registry.effects import Arg, Call, Command, Op, Pipeline
from taskq.registry.errors import FormatUnknown, InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.scripts import load

log = logging.getLogger("taskq.scheduler")

RQ_TIMEOUT: Final = 180
"""Seconds that RQ gives a job that names no timeout (``rq.Queue.DEFAULT_TIMEOUT``)."""

PAGE: Final = 100
"""Jobs that are read at once."""

Rewrite = Callable[[bytes, int], bytes | None]
"""From a job's stored meta and how many times are left to the meta that says so, or None where it is to be left alone."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What the script is told of one job.

    Args:
        job: its id. ``due``: when it is due as it was seen, in s; None for whenever.
        stored: its record as it was seen, ``b""`` for none. ``repeat``: what the record says, or would say.
        now: Redis' clock, in s: the next time is later than this.
        early: whether it may be handed over before it is due.
        fields: of the job's hash, written first.
        meta: its meta as it was seen, and from now on.
    """

    job: str
    due: float | None
    stored: bytes
    repeat: Repeat
    now: float
    early: bool = False
    fields: Mapping[str, Arg] = field(default_factory=dict)
    meta: tuple[bytes, bytes] = (b"", b"")


@dataclass(frozen=True, slots=True)
class Moved:
    """What one look has done.

    ``leads``: False where the lease was lost, so that nothing more was moved. ``jobs``: ids of those that were handed over. ``now``:
    Redis' clock, in s. ``next``: when to look again, in s: at once where something was due, else when the next job is; None where
    there is none.
    """

    leads: bool
    jobs: Sequence[str]
    now: float
    next: float | None = None


def hand_over(keys: Keys, lease: str, given: Handover) -> Op[tuple[str, float]]:
    """Have the script hand one job over; returns its word (``queued``, ``deferred``, ``missing`` …) and Redis' clock in s."""
    repeat = given.repeat
    jobs = keys.rq_job("") if repeat.job_prefix is None else repeat.job_prefix
    queues = keys.rq_any_queue("") if repeat.queue_prefix is None else repeat.queue_prefix
    following = repeat.next_time(given.now if given.due is None else given.due, given.now)
    names = [keys.scheduler_jobs_lease, keys.scheduler_jobs, keys.scheduler_repeats, jobs + given.job, keys.rq_queues]
    args: list[Arg] = [
        lease,
        given.job,
        "" if given.due is None else text(given.due),
        given.stored,
        "" if following is None else text(following),
        "" if following is None else repeat.moved().dump(),
        keys.rq,
        jobs,
        queues,
        RQ_TIMEOUT if repeat.timeout is None else repeat.timeout,
        "" if given.early else "1",
        *given.meta,
    ]
    for name, value in given.fields.items():
        args += [name, value]
    word, now = yield Call(load("handover"), names, args)
    return word.decode(), float(now)


def stored_record(keys: Keys, job: str) -> Op[tuple[float, float | None, bytes]]:
    """Redis' clock, when a job is due (None where it is not scheduled), and its record (``b""`` where it has none)."""
    (seconds, micros), score, stored = yield Pipeline(
        [Command("TIME"), Command("ZSCORE", keys.scheduler_jobs, job), Command("HGET", keys.scheduler_repeats, job)]
    )
    return seconds + micros / 1e6, None if score is None else float(score), stored or b""


class Mover:
    """Moves the jobs that are due.

    A job whose record can't be read (another release has written it, or this machine does not know its time zone) is left
    where it is, and named in the log once.

    Args:
        keys: of the namespace.
        rewrite: how a job's own meta is kept true, where that may be unpickled; None leaves it as it is.
    """

    def __init__(self, keys: Keys, rewrite: Rewrite | None = None) -> None:
        self._keys, self._rewrite = keys, rewrite
        self._left_alone: dict[str, tuple[float, bytes]] = {}

    def move_due(self, lease: str) -> Op[Moved]:
        """Hand over jobs that are due by Redis' clock, those due first ahead; no more than are read at once.

        Args:
            lease: what ``keys.scheduler_jobs_lease`` must hold (``<token>|<who>``); ``""`` for one who needs no lead.
        """
        now, head = yield from self._head()
        due = [(job, score) for job, score in head if score <= now]
        moved: list[str] = []
        for job, score, stored in (yield from self._records(due)) if due else ():
            word = yield from self._hand_over(lease, job, score, stored, now)
            if word == "lost":
                return Moved(False, moved, now)
            if word in ("queued", "deferred"):
                moved.append(job)
        return Moved(True, moved, now, now if due else min((score for _, score in head), default=None))

    def _head(self) -> Op[tuple[float, list[tuple[str, float]]]]:
        """Redis' clock and the jobs that are due first, without those that are left alone."""
        most = PAGE + len(self._left_alone)
        (seconds, micros), reply = yield Pipeline(
            [Command("TIME"), Command("ZRANGE", self._keys.scheduler_jobs, 0, most - 1, "WITHSCORES")]
        )
        found = [(job.decode(), score) for job, score in pairs(reply)]
        alone = {job: self._left_alone[job] for job, score in found if self._left_alone.get(job, (None,))[0] == score}
        if alone:
            records = yield Command("HMGET", self._keys.scheduler_repeats, *alone)
            alone = {job: kept for (job, kept), record in zip(alone.items(), records, strict=True) if kept[1] == (record or b"")}
        self._left_alone = alone
        return seconds + micros / 1e6, [(job, score) for job, score in found if job not in alone]

    def _records(self, due: Sequence[tuple[str, float]]) -> Op[list[tuple[str, float, bytes]]]:
        records = yield Command("HMGET", self._keys.scheduler_repeats, *(job for job, _ in due))
        return [(job, score, stored or b"") for (job, score), stored in zip(due, records, strict=True)]

    def _hand_over(self, lease: str, job: str, due: float, stored: bytes, now: float) -> Op[str]:
        try:
            repeat = Repeat.load(stored) if stored else Repeat()
            meta = yield from self._meta(job, repeat)
            given = Handover(job, due, stored, repeat, now, meta=meta)
            word, _ = yield from hand_over(self._keys, lease, given)
        except (FormatUnknown, InvalidInput) as error:
            log.warning("job %s is not handed over: how it repeats can't be read (%s)", job, error)
            self._left_alone[job] = (due, stored)
            return "left"
        if word == "refused":
            log.warning("job %s is not handed over: the key of its queue holds something else than a list", job)
            self._left_alone[job] = (due, stored)
        if word in ("missing", "canceled"):
            log.info("job %s is not there any more (%s): it is scheduled no longer", job, word)
        return word

    def _meta(self, job: str, repeat: Repeat) -> Op[tuple[bytes, bytes]]:
        if self._rewrite is None or not repeat.left:
            return b"", b""
        meta = yield Command("HGET", (repeat.job_prefix or self._keys.rq_job("")) + job, "meta")
        rewritten = self._rewrite(meta, repeat.left - 1) if meta else None
        return (b"", b"") if rewritten is None else (meta, rewritten)


def pairs(reply: Sequence[Any]) -> Iterable[tuple[Any, float]]:
    """Members and scores of a reply WITHSCORES, in either protocol's form."""
    if reply and isinstance(reply[0], list | tuple):
        return [(member, float(score)) for member, score in reply]
    return [(reply[at], float(reply[at + 1])) for at in range(0, len(reply), 2)]
