"""The keeper: starts the server, the scheduler and the workers, keeps them running, and stops them in the right order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from taskq.registry import clock
from taskq.registry.changes.fleet import live_workers
from taskq.registry.connect import connect_worker
from taskq.registry.effects import run_async
from taskq.registry.errors import ServerUnreachable, TaskqError
from taskq.registry.keys import Keys
from taskq.registry.runtime.schedulers import live_schedulers
from taskq.registry.settings import Settings
from taskq.up.child import Child, Listener
from taskq.up.home import Home
from taskq.up.server import Server, find_binary
from taskq.worker.link.descendants import kill_orphans, shield_process

SERVER, SCHEDULER = "redis", "scheduler"
_SERVER_START = 10.0
_WORKER_START = 20.0
_RESIGN = 8.0  # longer than a scheduler's last tick
_DRAIN = 20.0  # longer than a worker's own grace
_KILLED = 3.0
_LINGER = 0.5
_LOOK = 0.05
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Plan:
    """What shall run.

    Args:
        folder: where ``.taskq/`` is.
        namespace: of the workers.
        workers: how many. ``executors``: of each. ``queues``: that they serve.
        port: of 127.0.0.1 for the server, None for its socket only.
    """

    folder: Path
    namespace: str = "taskq"
    workers: int = 1
    executors: int = 2
    queues: tuple[str, ...] = ("default",)
    port: int | None = None


@dataclass(frozen=True)
class Row:
    """One line of what runs where."""

    name: str
    pid: int | None
    what: str
    where: str


class Audience(Listener, Protocol):
    """Who is told what happens."""

    def ready(self, rows: list[Row], late: list[str]) -> None:
        """All was started; ``late`` names the workers that were not ready in time."""

    def stopping(self, *, hurry: bool) -> None:
        """A stop was asked for; ``hurry``: for the second time."""

    def stopped(self) -> None:
        """Nothing runs any more."""


def run_up(plan: Plan, audience: Audience) -> int:
    """Run what is planned until a signal stops it; returns the exit code.

    Raises:
        Conflict: another `taskq up` runs in the folder, or the port is taken.
        NotFound: no server is installed.
        TaskqError: the server does not start.
    """
    binary = find_binary()
    with Home.held(plan.folder) as home:
        server = Server(home, binary, plan.port, home.password() if plan.port else None)
        server.configure()
        return asyncio.run(_Keeper(plan, home, server, audience).run())


class _Keeper:
    def __init__(self, plan: Plan, home: Home, server: Server, audience: Audience) -> None:
        self._plan, self._home, self._server, self._audience = plan, home, server, audience
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        # Settings are the environment's, as the workers will see them; only the server and its password are ours to name.
        settings = Settings.load(redis_url=server.url, namespace=plan.namespace)
        self._settings = settings.model_copy(update={"redis_password_file": None})
        self._children: list[Child] = []

    async def run(self) -> int:
        shield_process()
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._signalled)
        try:
            await self._start()
            await self._stop.wait()
        finally:
            await self._end()
        self._audience.stopped()
        return 0

    def _signalled(self) -> None:
        hurry = self._stop.is_set()
        self._audience.stopping(hurry=hurry)
        (self._hurry if hurry else self._stop).set()

    async def _start(self) -> None:
        self._add(SERVER, lambda _: self._server.argv(), dict(os.environ))
        version = await self._until(self._answering, _SERVER_START)
        if self._stop.is_set():
            return
        if not version:
            words = self._server.last_words()
            raise TaskqError(f"the server {self._server.binary} does not start:\n{words}", hint=f"its log is {self._home.log}")
        self._publish()
        ours = {"TASKQ_REDIS_URL": self._server.url, "TASKQ_REDIS_PASSWORD_FILE": "", "TASKQ_NAMESPACE": self._plan.namespace}
        environment = dict(os.environ) | ours
        self._add(SCHEDULER, _argv("scheduler", SCHEDULER), environment)
        worker = ("--executors", str(self._plan.executors), "--queues", ",".join(self._plan.queues))
        for number in range(1, self._plan.workers + 1):
            self._add(f"worker-{number}", _argv("worker", f"worker-{number}", *worker), environment)
        self._publish()
        async with self._fleet() as missing:
            await self._until(_negated(missing), _WORKER_START)
            late = sorted(await missing())
        if not self._stop.is_set():
            self._audience.ready(self._rows(version), late)

    def _add(self, name: str, argv: Callable[[int], list[str]], environment: dict[str, str]) -> None:
        child = Child(name, argv, environment, _Republishing(self._audience, self._publish, self._end_orphans))
        self._children.append(child)
        child.start()

    def _end_orphans(self) -> None:
        """What tasks of a killed worker had started falls to us, even if it had left its session."""
        self._kill_orphans()
        # Once more: what was below an executor that died just now came a moment later, and what was killed can be reaped.
        asyncio.get_running_loop().call_later(_LINGER, self._kill_orphans)

    def _kill_orphans(self) -> None:
        kill_orphans({child.pid for child in self._children if child.pid})

    def _publish(self) -> None:
        processes = {child.name: child.pid for child in self._children if child.pid}
        self._home.publish(pid=os.getpid(), password=self._server.password, processes=processes)

    async def _answering(self) -> str | None:
        """Name and version of the server once it answers; empty if it died instead."""
        return "" if self._children[0].deaths else self._server.version()

    @contextlib.asynccontextmanager
    async def _fleet(self) -> AsyncIterator[Callable[[], Awaitable[set[str]]]]:
        """A function that tells which workers are not ready yet, and whether the scheduler does not lead yet."""
        keys = Keys(self._settings.namespace, self._settings.rq_prefix)
        client = connect_worker(self._settings)

        async def missing() -> set[str]:
            wanted = {child.pid: child.name for child in self._children[1:] if child.pid}
            workers = await run_async(live_workers(keys, self._settings), client)
            schedulers = await run_async(live_schedulers(keys, self._settings), client)
            ready = {report.pid for report in workers if report.state != "starting"}
            ready |= {report.pid for report in schedulers if report.state == "leader"}
            return {name for pid, name in wanted.items() if pid not in ready}

        try:
            yield missing
        finally:
            await client.aclose()

    async def _until(self, look: Callable[[], Awaitable[str | None]], within: float) -> str | None:
        """The first answer of ``look``, None if it is not there in time or a stop was asked for."""
        deadline = clock.monotonic() + within
        while not self._stop.is_set() and clock.monotonic() < deadline:
            with contextlib.suppress(ServerUnreachable):
                answer = await look()
                if answer is not None:
                    return answer
            await asyncio.sleep(_LOOK)
        return None

    def _rows(self, version: str) -> list[Row]:
        where = f"{self._home.path.name}/{self._home.socket.name}"
        if self._plan.port:
            where += f" and 127.0.0.1:{self._plan.port}"
        server, scheduler, *workers = self._children
        rows = [Row(SERVER, server.pid, version, where), Row(SCHEDULER, scheduler.pid, "leads", "schedules, delayed runs")]
        served = f"queue{'s' if len(self._plan.queues) > 1 else ''} {', '.join(self._plan.queues)}"
        what = f"{self._plan.executors} executor{'s' if self._plan.executors > 1 else ''}"
        return rows + [Row(child.name, child.pid, what, served) for child in workers]

    async def _end(self) -> None:
        """The scheduler first, so that nothing new comes; then the workers, which record what they finished; the server last."""
        servers, schedulers, workers = self._children[:1], self._children[1:2], self._children[2:]
        for children, grace in ((schedulers, _RESIGN), (workers, _DRAIN), (servers, _KILLED)):
            await self._end_of(children, grace)

    async def _end_of(self, children: list[Child], grace: float) -> None:
        """SIGTERM; again when the grace is over or Ctrl-C came again, which ends a worker's executors at once; then SIGKILL."""
        for child in children:
            child.ask_to_stop()
        ended = asyncio.create_task(_all_ended(children, grace))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({hurry, ended}, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (hurry, ended):
            waiting.cancel()
        for kill in (False, True):
            if not await _all_ended(children, 0):
                for child in children:
                    child.ask_to_stop(kill=kill)
                await _all_ended(children, _KILLED)


class _Republishing:
    """Tells the audience; ends what a dead child left, and writes ``up.json`` anew when it was started again."""

    def __init__(self, audience: Audience, publish: Callable[[], None], clean_up: Callable[[], None]) -> None:
        self.output = audience.output
        self._audience, self._publish, self._clean_up = audience, publish, clean_up

    def died(self, name: str, why: str, delay: float) -> None:
        self._clean_up()
        self._audience.died(name, why, delay)

    def started(self, name: str, pid: int, *, again: bool) -> None:
        if again:
            self._publish()
        self._audience.started(name, pid, again=again)


async def _all_ended(children: list[Child], within: float) -> bool:
    return all(await asyncio.gather(*(child.ended(within) for child in children)))


def _argv(command: str, name: str, *options: str) -> Callable[[int], list[str]]:
    """A child's command line; each start has a name of its own, so that nothing of the dead one counts for it."""

    def argv(starts: int) -> list[str]:
        named = f"{name}.{starts + 1}" if starts else name
        # -P: what lies in this folder is the user's, also a types.py or a redis.py.
        return [sys.executable, "-P", "-m", "taskq", command, "--name", named, "--log-format", "text", *options]

    return argv


def _negated(missing: Callable[[], Awaitable[set[str]]]) -> Callable[[], Awaitable[str | None]]:
    async def complete() -> str | None:
        return None if await missing() else "all"

    return complete
