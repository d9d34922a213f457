"""`Sweeper`: takes over what dead workers left: expired leases, and litter. Moves runs that are due where no scheduler does.

What expires is one more loss of the run, also where its worker had not begun it. A version that is noted in the job says that the run
had begun, but none says nothing: it is noted only after 100 ms. To give a run back as if nothing had happened on such a doubt would take
a task that crashes its machine at once out of the count that makes it poison. So a worker that was stopped (SIGSTOP, a suspended
machine) with runs claimed costs each of them one of their three.

Each worker sweeps; the scripts check the token and the expiry again, so that many sweepers do no more than one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from taskq.registry import clock
from taskq.registry.effects import run_async
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.runs.attempts import attempt_blob
from taskq.registry.runs.later import MAX_MOVED, move_due
from taskq.registry.runtime.faults import point
from taskq.registry.runtime.loop import Periodic
from taskq.registry.runtime.server import Server
from taskq.worker.life.heartbeat import forget_worker
from taskq.worker.runs import verdicts
from taskq.worker.runs.recording import event_of, finish_args
from taskq.worker.runs.run import Run
from taskq.worker.runs.statistics import count
from taskq.worker.runs.verdicts import Finish, Release

log = logging.getLogger("taskq.worker")
_BATCH = 200
# Expired leases that one sweep takes over at most: what a large worker held is not to wait for one sweep after the other.
_MOST = 2_000
_UNPARK = 500
_KINDS = ("finished", "failed", "canceled")
# A dead worker is listed as gone for so many times its TTL.
_GONE = 30


@dataclass(slots=True, frozen=True)
class Expired:
    """A lease as expired.lua lists it."""

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

    @classmethod
    def parse(cls, fields: list[bytes]) -> Expired:
        """From one row of the script's reply."""
        run, token, worker, origin, task, attempt, losses, version, started, cause = (field.decode("utf-8", "replace") for field in fields)
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
        )


def confirmed(before: Iterable[Expired], now: Iterable[Expired], *, unbroken: bool) -> list[Expired]:
    """The leases that were seen expired in both looks, the connection having been unbroken between them.

    Pure. A lease that expired because *Redis* was away belongs to a worker that will renew it as soon as it can.
    """
    if not unbroken:
        return []
    seen = {(lease.run, lease.token) for lease in before}
    return [lease for lease in now if (lease.run, lease.token) in seen]


class Sweeper(Periodic):
    """Sweeps each ``sweep`` seconds.

    Args:
        server, snapshot: what it works with. ``worker``: our name. ``queues``: that we serve.
        held: all runs whose lease is ours: after an outage, what Redis says is ours and is not among them is given back.
    """

    def __init__(
        self,
        server: Server,
        snapshot: Snapshot,
        held: Callable[[], Iterable[Run]],
        *,
        worker: str,
        queues: Iterable[str],
    ) -> None:
        super().__init__(server, "sweeper", server.settings.sweep)
        self._snapshot, self._held = snapshot, held
        self._worker, self._queues = worker, tuple(queues)
        self.on_dead: Callable[[], None] = lambda: None  # called when leases of workers that are dead are taken over
        self._seen: list[Expired] = []
        self._strays: set[tuple[str, str]] = set()
        self._outages = server.outages
        self._looked = 0.0

    async def step(self) -> None:
        unbroken = self._outages == self.server.outages
        self._outages = self.server.outages
        now = clock.monotonic()
        if unbroken and now - self._looked < self.every * 0.9:
            return
        self._looked = now
        expired = await self._list("")
        gone = confirmed(self._seen, expired, unbroken=unbroken)
        self._seen = expired
        if gone:
            point("worker.sweeping")
        await self._take_over(gone, only_expired=True)
        if gone:
            point("worker.swept")
        await self._strayed(check=not unbroken or bool(self._strays))
        await self._move_due()
        await self._unpark()
        await self._prune()

    async def take_over_from(self, worker: str) -> int:
        """An earlier worker of the same name is known to be dead: what it held runs again now. Returns how many."""
        leases = await self._list(worker)
        await self._take_over(leases, only_expired=False)
        return len(leases)

    async def _list(self, worker: str) -> list[Expired]:
        """In the order of their claims, which is that of the tokens: runs of one claim have expired at the same moment."""
        names = self.server.keys
        rows = await self.server.call("expired", [names.leases, names.lease], [names.rq, _MOST, worker])
        return sorted(map(Expired.parse, rows), key=lambda lease: int(lease.token))

    async def _take_over(self, leases: list[Expired], *, only_expired: bool) -> None:
        if leases:
            self.on_dead()
        releases: list[tuple[Expired, Release]] = []
        for lease in reversed(leases):
            record = self._snapshot.tasks.get(lease.task)
            verdict = verdicts.on_loss(lease.losses, record.spec if record else None, "worker_lost", f"worker {lease.worker}")
            log.warning("run %s was lost with worker %s", lease.run, lease.worker, extra={"run": lease.run, "task": lease.task})
            if isinstance(verdict, Finish):
                await self._finish(lease, verdict, only_expired=only_expired)
            else:
                releases.append((lease, verdict))
        await self._release(releases, only_expired=only_expired)

    async def _finish(self, lease: Expired, finish: Finish, *, only_expired: bool) -> None:
        names = self.server.keys
        record = self._snapshot.tasks.get(lease.task)
        run = self._as_run(lease)
        run.spec = record.spec if record else None
        run.started_at = lease.started_at or self.server.now()
        items = [(run, finish)]
        counts = count(items) if self.server.settings.stats else None
        args = finish_args(items, self.server.settings, only_expired=only_expired, counts=counts)
        await self.server.call("finish", [names.leases, names.lease, names.events], [names.rq, names.prefix, lease.worker, *args])

    async def _release(self, releases: Sequence[tuple[Expired, Release]], *, only_expired: bool) -> None:
        names = self.server.keys
        for at in range(0, len(releases), _BATCH):
            args: list[Any] = [names.rq, names.prefix]
            for lease, release in releases[at : at + _BATCH]:
                args += self._release_args(lease, release, only_expired=only_expired)
            await self.server.call("release", [names.leases, names.lease, names.parked_tasks, names.events], args)

    def _release_args(self, lease: Expired, release: Release, *, only_expired: bool) -> list[Any]:
        attempt = b""
        if release.outcome:
            attempt = attempt_blob(
                lease.attempt,
                lease.worker,
                lease.version,
                outcome=release.outcome,
                error=release.error,
                started_at=lease.started_at,
                ended_at=self.server.now(),
            )
        return [
            lease.run,
            lease.token,
            lease.origin,
            lease.task,
            release.where,
            "1" if release.burned else "",
            "" if release.losses is None else release.losses,
            attempt,
            "1" if only_expired else "",
            "",
            event_of("lost", self._as_run(lease), self.server.settings, reason=release.outcome) if release.burned else "",
        ]

    def _as_run(self, lease: Expired) -> Run:
        return Run(
            id=lease.run,
            token=lease.token,
            queue=self.server.keys.our_queue(lease.origin),
            origin=lease.origin,
            task=lease.task,
            attempt=lease.attempt,
            data=b"",
            cause=lease.cause,
            version=lease.version or 0,
            noted=True,  # whether its execution was written is not known: what is not there is deleted in vain
        )

    async def _strayed(self, *, check: bool) -> None:
        """Leases that are ours by name and not known here: a claim's reply was lost with the connection. Never began: no attempt burned."""
        if not check:
            return
        ours = {(run.id, run.token) for run in self._held()}
        leases = {(lease.run, lease.token): lease for lease in await self._list(self._worker)}
        ours |= {(run.id, run.token) for run in self._held()}
        strays = leases.keys() - ours
        lost = [lease for key, lease in leases.items() if key in strays & self._strays]
        for lease in lost:
            log.warning(
                "run %s was claimed in vain: the reply was lost; it is given back", lease.run, extra={"run": lease.run, "task": lease.task}
            )
        # The last one first, so that they keep their order at the front.
        await self._hand_back(lost[::-1])
        self._strays = strays - self._strays

    async def give_back_strays(self) -> None:
        """The worker stops, perhaps in the midst of a claim: whatever is ours by name and not known here runs elsewhere now."""
        ours = {(run.id, run.token) for run in self._held()}
        strays = [lease for lease in await self._list(self._worker) if (lease.run, lease.token) not in ours]
        await self._hand_back(strays[::-1])

    async def _hand_back(self, leases: Iterable[Expired]) -> None:
        await self._release([(lease, verdicts.HAND_BACK) for lease in leases], only_expired=False)

    async def _move_due(self) -> None:
        """Where no scheduler leads, runs that have become due are ours to move: one call, which does nothing where one does."""
        events = self.server.settings.events == "all"
        while (await run_async(move_due(self.server.keys, "", events=events), self.server.redis)).count == MAX_MOVED:
            pass

    async def _unpark(self) -> None:
        names = self.server.keys
        parked: Any = await self.server.redis.smembers(names.parked_tasks)
        for blob in parked:
            task = blob.decode()
            record = self._snapshot.tasks.get(task)
            while record is not None and record.state != "paused":
                if not await self.server.call("unpark", [names.parked(task), names.parked_tasks], [names.rq, task, _UNPARK]):
                    break

    async def _prune(self) -> None:
        """Entries of RQ's registries past their time, and workers that are long gone."""
        names, now = self.server.keys, self.server.now()
        horizon = now - _GONE * self.server.settings.worker_ttl
        async with self.server.redis.pipeline(transaction=False) as pipe:
            for queue in self._queues:
                for kind in _KINDS:
                    pipe.zremrangebyscore(names.rq_registry(kind, queue), "-inf", now - 1)
            pipe.zrangebyscore(names.workers, "-inf", horizon, start=0, num=_BATCH)
            gone = [worker.decode() for worker in (await pipe.execute())[-1]]
            if gone:
                queues = await self._all_queues()
                for worker in gone:
                    forget_worker(pipe, names, worker, queues)
                await pipe.execute()

    async def _all_queues(self) -> set[str]:
        """Those of other workers too: what they served is not known any more."""
        members: Any = await self.server.redis.smembers(self.server.keys.rq_queues)
        prefix = self.server.keys.rq_queue("")
        used = {name.removeprefix(prefix) for name in map(bytes.decode, members) if name.startswith(prefix)}
        return used | set(self._queues) | {record.spec.queue for record in self._snapshot.tasks.values()}
