"""`Sweeper`: takes over what dead workers left: expired leases, and litter. Moves runs that are due where no scheduler does.

What expires is one more loss of the run, also where its worker had not begun it. A version that is noted in the job says that the run
had begun, but none says nothing: it is noted only after 100 ms. To give a run back as if nothing had happened on such a doubt would take
a task that crashes its machine at once out of the count that makes it poison. So a worker that was stopped (SIGSTOP, a suspended
machine) with runs claimed costs each of them one of their three.

Each worker sweeps; the scripts check the token and the expiry again, so that many sweepers do no more than one. Which leases are taken
over, and when, is decided in `taskq.worker.runs.suspects`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.exceptions import RedisError

from taskq.registry import clock
from taskq.registry.effects import run_async
from taskq.registry.feed.snapshot import Snapshot
from taskq.registry.runs.attempts import attempt_blob
from taskq.registry.runs.later import MAX_MOVED, move_due
from taskq.registry.runtime.faults import point
from taskq.registry.runtime.loop import Loop
from taskq.registry.runtime.server import Server, is_outage
from taskq.worker.life.heartbeat import forget_worker
from taskq.worker.runs import verdicts
from taskq.worker.runs.recording import event_of, finish_args
from taskq.worker.runs.run import Run
from taskq.worker.runs.statistics import count
from taskq.worker.runs.suspects import Lease, Suspects, late_within
from taskq.worker.runs.verdicts import Finish, Release

log = logging.getLogger("taskq.worker")
_BATCH = 200
# Expired leases that one sweep takes over at most: what a large worker held is not to wait for one sweep after the other.
_MOST = 2_000
_UNPARK = 500
# Shares of a sweep: what several sweepers wait, each another time, so that the first has taken over what the others then need not.
_SPREAD = (0.02, 0.1)
_KINDS = ("finished", "failed", "canceled")
# A dead worker is listed as gone for so many times its TTL.
_GONE = 30


class Sweeper(Loop):
    """Looks at leases each ``sweep`` seconds, and whenever one of them may have become late or may be taken over; tidies up each ``sweep``.

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
        super().__init__(server, "sweeper")
        settings = server.settings
        self._every, self._soon = settings.sweep, int(late_within(settings.lease, settings.lease_renew) * 1000)
        self._snapshot, self._held = snapshot, held
        self._worker, self._queues = worker, tuple(queues)
        self.on_dead: Callable[[], None] = lambda: None  # called when leases of workers that are dead are taken over
        self._suspects = Suspects(settings.sweep)
        self._strays: set[tuple[str, str]] = set()
        self._outages_looked = self._outages_tidied = server.outages
        self._next_late, self._tidied = 0.0, -settings.sweep
        self._began = 0.0

    async def run(self) -> None:
        while True:
            await self.server.ready()
            await self.step()
            now = clock.monotonic()
            again = min(self._suspects.due, self._next_late, self._tidied + self._every)
            await asyncio.sleep(max(0.0, again - now) + self._every * random.uniform(*_SPREAD))  # noqa: S311  # guards nothing

    async def step(self) -> None:
        """One look, and what it is time for besides."""
        try:
            await self._look()
        except RedisError as error:
            if not is_outage(error):
                self._suspects.forget()
            raise
        await self._tidy_up()

    async def _look(self) -> None:
        if self._outages_looked != self.server.outages:
            self._outages_looked = self.server.outages
            self._suspects.forget()
        asked = clock.monotonic()
        late, ahead = await self._list("", calm=self._suspects.calm(asked))
        answered = clock.monotonic()
        if self._outages_looked != self.server.outages:
            return  # another loop has met an outage meanwhile: this reply is from before it
        self._next_late = answered + ahead
        lost = self._suspects.look(late, asked, answered)
        if lost:
            point("worker.sweeping")
            await self._take_over(lost, only_expired=True)
            point("worker.swept")

    async def _tidy_up(self) -> None:
        now, unbroken = clock.monotonic(), self._outages_tidied == self.server.outages
        if unbroken and now - self._tidied < self._every * 0.9:
            return
        self._tidied, self._outages_tidied = now, self.server.outages
        await self._strayed(check=not unbroken or bool(self._strays))
        await self._move_due()
        await self._unpark()
        await self._prune()

    async def take_over_from(self, worker: str) -> int:
        """An earlier worker of the same name is known to be dead: what it held runs again now. Returns how many.

        Is Redis away at that moment, they are found among the strays once it is back: what was claimed before this call is not ours.
        """
        self._began = self.server.now()
        leases, _ = await self._list(worker)
        await self._take_over(leases, only_expired=False)
        return len(leases)

    async def _list(self, worker: str, *, calm: bool = False) -> tuple[list[Lease], float]:
        """The leases of a worker, or with '' the late ones, and in how many seconds the next one will be late.

        In the order of their claims, which is that of the tokens: runs of one claim expire at the same moment.
        """
        names = self.server.keys
        args = [names.rq, _MOST, worker, self._soon, "1" if calm else ""]
        ahead, *rows = await self.server.call("expired", [names.leases, names.lease], args)
        leases = sorted(map(Lease.parse, rows), key=lambda lease: int(lease.token))
        return leases, int(ahead) / 1000 if ahead else math.inf

    async def _take_over(self, leases: list[Lease], *, only_expired: bool) -> None:
        if leases:
            self.on_dead()
        releases: list[tuple[Lease, Release]] = []
        for lease in reversed(leases):
            record = self._snapshot.tasks.get(lease.task)
            verdict = verdicts.on_loss(lease.losses, record.spec if record else None, "worker_lost", f"worker {lease.worker}")
            log.warning("run %s was lost with worker %s", lease.run, lease.worker, extra={"run": lease.run, "task": lease.task})
            if isinstance(verdict, Finish):
                await self._finish(lease, verdict, only_expired=only_expired)
            else:
                releases.append((lease, verdict))
        await self._release(releases, only_expired=only_expired)

    async def _finish(self, lease: Lease, finish: Finish, *, only_expired: bool) -> None:
        names = self.server.keys
        record = self._snapshot.tasks.get(lease.task)
        run = self._as_run(lease)
        run.spec = record.spec if record else None
        run.started_at = lease.started_at or self.server.now()
        items = [(run, finish)]
        counts = count(items) if self.server.settings.stats else None
        args = finish_args(items, self.server.settings, only_expired=only_expired, counts=counts)
        await self.server.call("finish", [names.leases, names.lease, names.events], [names.rq, names.prefix, lease.worker, *args])

    async def _release(self, releases: Sequence[tuple[Lease, Release]], *, only_expired: bool) -> None:
        names = self.server.keys
        for at in range(0, len(releases), _BATCH):
            args: list[Any] = [names.rq, names.prefix]
            for lease, release in releases[at : at + _BATCH]:
                args += self._release_args(lease, release, only_expired=only_expired)
            await self.server.call("release", [names.leases, names.lease, names.parked_tasks, names.events], args)

    def _release_args(self, lease: Lease, release: Release, *, only_expired: bool) -> list[Any]:
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

    def _as_run(self, lease: Lease) -> Run:
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
        """Leases that are ours by name and not known here: a claim's reply was lost with the connection."""
        if not check:
            return
        strays = await self._unknown()
        lost = [lease for lease in strays if (lease.run, lease.token) in self._strays]
        self._strays = {(lease.run, lease.token) for lease in strays} - self._strays
        await self._give_back(lost)

    async def give_back_strays(self) -> None:
        """The worker stops, perhaps in the midst of a claim: whatever is ours by name and not known here runs elsewhere now."""
        await self._give_back(await self._unknown())

    async def _unknown(self) -> list[Lease]:
        """Also what is claimed or ends while we ask is known."""
        ours = {(run.id, run.token) for run in self._held()}
        leases, _ = await self._list(self._worker)
        ours |= {(run.id, run.token) for run in self._held()}
        return [lease for lease in leases if (lease.run, lease.token) not in ours]

    async def _give_back(self, strays: Sequence[Lease]) -> None:
        """What an earlier worker of our name had claimed may have begun, and is lost with it. The rest never began: no attempt burned."""
        await self._take_over([lease for lease in strays if lease.claimed_before(self._began)], only_expired=False)
        vain = [lease for lease in strays if not lease.claimed_before(self._began)]
        for lease in vain:
            log.warning(
                "run %s was claimed in vain: the reply was lost; it is given back", lease.run, extra={"run": lease.run, "task": lease.task}
            )
        # The last one first, so that they keep their order at the front.
        await self._release([(lease, verdicts.HAND_BACK) for lease in reversed(vain)], only_expired=False)

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
