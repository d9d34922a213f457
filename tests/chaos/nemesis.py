"""The nemesis: has processes die by the schedule of a seed, replaces them, and notes what each death left behind."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from chaos.plan import Fault, Kind, schedule
from chaos.stage import Actor, Stage, is_point
from taskq import Client, Registry, TaskqError

# How many processes of each kind there are.
_PLACES: dict[Kind, int] = {"worker": 3, "scheduler": 2, "client": 1, "registrar": 1}
# A process that has not come to its point by then is killed where it is. One that is to be killed from outside lives so long, by ``nth``.
_LATEST, _STEP = 6.0, 0.25
_EVERY = 0.02
_SERVER_EVERY = 5.0
# How long after the server's return a process may still end since it found none at its start.
_STARTING = 3.0
_pause = threading.Event().wait


@dataclass(frozen=True, slots=True)
class Death:
    """A fault that happened.

    Attributes:
        fault: which. ``at``: when it was seen, monotonic. ``late``: it was killed from outside since it did not come to its point.
        held: runs whose lease it had.
    """

    fault: Fault
    at: float
    late: bool = False
    held: tuple[str, ...] = ()


@dataclass
class Trial:
    """What a trial did. ``acknowledged``: runs that a client was told of. ``began``, ``ended``: when it was at work, monotonic."""

    seed: int
    began: float
    ended: float = 0.0
    deaths: list[Death] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    left: list[psutil.Process] = field(default_factory=list)


class Nemesis:
    """Carries out a schedule of faults on a stage, while clients enqueue and a registrar registers.

    Args:
        stage: with a running server. ``seed``: of the schedule. ``tell``: called with each death.
    """

    def __init__(self, stage: Stage, seed: int, tell: Callable[[Death], None] = lambda death: None) -> None:
        self._stage, self._tell = stage, tell
        self._dice = random.Random(seed + 1)
        self._actors: list[Actor] = []
        self._executors: deque[Fault] = deque()
        self._servers: deque[Fault] = deque()
        self._waiting: dict[Kind, deque[Fault]] = {}
        self._server_at = 0.0
        self._served_at = -_STARTING
        self._killers: dict[str, Fault] = {}
        self._told = 0
        self.trial = Trial(seed, time.monotonic())

    def run(self, count: int, seconds: float) -> Trial:
        """Have ``count`` processes die, then let everything come to rest, for at most ``seconds``."""
        faults = schedule(self.trial.seed, count)
        self._executors, self._servers = deque(faults.pop("executor")), deque(faults.pop("server"))
        self._waiting = {kind: deque(found) for kind, found in faults.items()}
        self._register()
        self._server_at = time.monotonic() + _SERVER_EVERY
        for kind, places in _PLACES.items():
            for place in range(places):
                self._actors.append(self._start(kind, place))
        # One that nothing befalls: how soon the fleet recovers is asked of a fleet that is there.
        self._actors.append(self._stage.start("worker", _PLACES["worker"], None))
        with Client(settings=self._stage.settings) as client:
            while not self._done(count):
                self._look()
                self._strike_server()
                self._strike_executor(client)
                _pause(_EVERY)
        self._rest(seconds)
        return self.trial

    def _register(self) -> None:
        file = self._stage.folder / "registrar" / "steps.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(self._stage.ledger.source(0))
        with Registry(settings=self._stage.settings) as registry:
            registry.register(file)

    def _done(self, count: int) -> bool:
        self._note_executors()
        return len(self.trial.deaths) >= count

    # -- processes -----------------------------------------------------------------------------------------
    def _start(self, kind: Kind, place: int) -> Actor:
        waiting = self._waiting[kind]
        return self._stage.start(kind, place, waiting.popleft() if waiting else None, same_name=self._dice.random() < 0.5)

    def _look(self) -> None:
        now = time.monotonic()
        for at, actor in enumerate(self._actors):
            lived = now - actor.began
            late = is_point(actor.fault) and lived > _LATEST
            if actor.fault is not None and (late or (not is_point(actor.fault) and lived > 1.0 + actor.fault.nth * _STEP)):
                actor.kill()
                actor.process.wait()
            if not actor.dead:
                continue
            if actor.process.returncode > 0 and now - self._served_at < _STARTING:
                # It was starting while the server was away, and says so: whoever keeps processes alive starts it again.
                self._actors[at] = self._stage.start(actor.kind, actor.place, actor.fault)
            else:
                self._died(actor, late=late)
                self._actors[at] = self._start(actor.kind, actor.place)

    def _died(self, actor: Actor, *, late: bool) -> None:
        if actor.fault is None or actor.process.returncode != -signal.SIGKILL:
            raise AssertionError(
                f"{actor.name} ended with {actor.process.returncode} by itself, not by {actor.fault}\n{self._stage.log(actor)}"
            )
        held = self._held(actor.name) if actor.kind == "worker" else ()
        self._add(Death(actor.fault, time.monotonic(), late, held))

    def _held(self, worker: str) -> tuple[str, ...]:
        leases = self._stage.redis.hgetall(self._stage.keys.lease)
        return tuple(run.decode() for run, value in leases.items() if value.split(b"|")[1].decode() == worker)

    def _add(self, death: Death) -> None:
        self.trial.deaths.append(death)
        self._tell(death)

    # -- the server and executors --------------------------------------------------------------------------
    def _strike_server(self) -> None:
        if self._servers and time.monotonic() >= self._server_at:
            self._stage.kill_server()
            fault = self._servers.popleft()
            _pause(0.1 * fault.nth)
            self._stage.serve()
            self._served_at = time.monotonic()
            self._add(Death(fault, time.monotonic()))
            self._server_at = time.monotonic() + _SERVER_EVERY

    def _strike_executor(self, client: Client) -> None:
        """One at a time: a run that kills its executor from within, or a kill from outside."""
        if not self._executors or self._killers:
            return
        fault = self._executors.popleft()
        if not is_point(fault):
            executors = [child for actor in self._actors if actor.kind == "worker" for child in _children(actor)]
            try:
                self._dice.choice(executors).kill()
                self._add(Death(fault, time.monotonic()))
            except (IndexError, psutil.NoSuchProcess):
                self._executors.append(fault)  # there is none now, or it has just ended with its worker
            return
        try:
            run = client.enqueue("step", dies=fault.place, after=fault.nth * 0.0003)
        except TaskqError:
            self._executors.append(fault)
            return
        self.trial.acknowledged.add(run.id)
        self._killers[run.id] = fault

    def _note_executors(self) -> None:
        if not self._killers:
            return
        for entry in self._stage.ledger.entries()[self._told :]:
            self._told += 1
            fault = self._killers.pop(entry.run, None) if entry.what == "dies" else None
            if fault is not None:
                self._add(Death(fault, entry.at, held=(entry.run,)))

    # -- the end -------------------------------------------------------------------------------------------
    def _rest(self, seconds: float) -> None:
        """No more faults, no more runs: what is under way ends."""
        for actor in [actor for actor in self._actors if actor.kind in ("client", "registrar") or actor.fault is not None]:
            self._actors.remove(actor)
            if actor.kind in ("worker", "scheduler"):
                self._actors.append(self._stage.start(actor.kind, actor.place, None))
            actor.kill()
            actor.process.wait()
        trial = self.trial
        for file in self._stage.folder.glob("acknowledged.*"):
            # The last line may have been cut off: then nobody was told of that run.
            trial.acknowledged.update(line for line in file.read_text().split("\n")[:-1])
        self._stage.settle(sorted(trial.acknowledged), seconds)
        # Slots fire as long as a scheduler is there: what has fired ends as well.
        schedulers = [actor for actor in self._actors if actor.kind == "scheduler"]
        self._actors = [actor for actor in self._actors if actor not in schedulers]
        trial.left += self._stage.finish(schedulers)
        self._stage.drain(seconds)
        trial.ended = time.monotonic()

    def leave(self) -> Trial:
        """End the processes that are there; what of them stays behind is noted."""
        self.trial.left += self._stage.finish(self._actors)
        return self.trial


def _children(actor: Actor) -> list[psutil.Process]:
    try:
        return psutil.Process(actor.process.pid).children()
    except psutil.NoSuchProcess:
        return []
