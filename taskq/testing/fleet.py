"""`Fleet`: a fleet in the process of a test."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

import redis as redis_py

from taskq.producer.client import Client
from taskq.producer.link import Link
from taskq.producer.naming import AnyTask, name_of, named
from taskq.producer.options import Given, Options, checked
from taskq.producer.waiting import failure_of
from taskq.registry.authoring.retry import RetryRequested
from taskq.registry.authoring.task import FunctionTask, Task
from taskq.registry.changes.desk import Desk
from taskq.registry.changes.registry import Registry
from taskq.registry.errors import Conflict, InvalidInput, TaskqError
from taskq.registry.runs.statuses import TERMINAL
from taskq.registry.settings import Settings
from taskq.testing import enqueued, execution
from taskq.testing.clock import Clock, Time
from taskq.testing.faults import Fault
from taskq.testing.registration import Code, tasks_of
from taskq.testing.runner import FleetRun, Runner
from taskq.testing.scheduling import Due
from taskq.testing.server import Backend
from taskq.testing.worker import Worker
from taskq.worker.loading.routes import PUT_BACK

if TYPE_CHECKING:
    from redis import Redis

# A drain without a limit: so many attempts are a task that enqueues itself, not a test.
MOST_ATTEMPTS: Final = 10_000
# Waiting for one run, the time was moved so often without an end of it.
_MOST_WAITS: Final = 10_000
_WHO: Final = "taskq.testing"


class Fleet(Runner):
    """A fleet on a fake server; open from its construction until `close`, or as a context manager. One at a time in a process.

    Args:
        settings: fields of `taskq.Settings` that win over the environment, such as ``namespace="shop"``.

    Attributes:
        settings: of the fleet. ``redis``: a connection to its server. ``clock``: its time, see `Clock`.

    Raises:
        Conflict: another one is open.
        InvalidInput: a setting is not allowed.
        ModuleNotFoundError: fakeredis is not installed.
    """

    _open: Fleet | None = None

    def __init__(self, **settings: Any) -> None:
        if Fleet._open is not None:
            raise Conflict("another Fleet is open in this process, and each Client() finds that one's server: close it first")
        super().__init__(self._do, Options())
        self.settings = Settings.load(**settings)
        self._backend, self._time = Backend(self._waited_for), Time()
        self.redis: Redis = self._backend.client(redis_py.Redis)
        self._link = Link(self.redis, self.settings)
        self._code = Code()
        self._worker = Worker(self.redis, self._link.keys, self.settings, self._code, self._time)
        self._due = Due(self.redis, self._link.keys, self.settings, self._time)
        self._waits = 0
        self.clock = Clock(self._time, self._due.tick, self.drain)
        self._time.open()
        self._backend.open()
        Fleet._open = self

    def close(self) -> None:
        """Give back what it took over: connections, clocks, modules. Raises what ``on_unload`` of a class-form task raises."""
        if Fleet._open is not self:
            return
        try:
            self._code.close()
        finally:
            Fleet._open = None
            execution.close()
            self._backend.close()
            self._time.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @cached_property
    def client(self) -> Client:
        """A client, as ``Client()`` in this process gives one."""
        return Client(self.redis, settings=self.settings)

    @cached_property
    def registry(self) -> Registry:
        """The registry: to pause, roll back, list …"""
        return Registry(self.redis, settings=self.settings, who=_WHO)

    def options(self, **given: Unpack[Given]) -> Runner:
        """The same fleet with options for the runs that it makes: ``timeout``, ``version``, ``key`` …; see
        `taskq.Client.options`.

        Raises:
            InvalidInput: an option is not allowed.
        """
        return Runner(self._do, checked(given))

    # -- code ----------------------------------------------------------------------------------------------
    def register(self, *tasks: FunctionTask[..., Any] | type[Task[..., Any]] | ModuleType | str | Path) -> list[dict[str, Any]]:
        """Register tasks, as one release for all objects and one for all files; registering again what has changed makes a new
        version.

        Args:
            tasks: decorated functions, classes derived from `Task`, or modules, whose very objects then run; or paths of files
                and folders, which are imported in a process of their own and loaded from their source, as `taskq register` and
                workers do.

        Returns:
            the documents of `taskq.Registry.register`.

        Raises:
            InvalidInput, Unsupported, InspectionFailed: one can't be registered.
            Conflict: its content was rolled back from.
        """
        files = [thing for thing in tasks if isinstance(thing, str | Path)]
        objects = [task for thing in tasks if not isinstance(thing, str | Path) for task in tasks_of(thing)]
        documents = self._code.register(self._desk, objects) if objects else []
        return documents + (self.registry.register(files, take_over=True) if files else [])

    @cached_property
    def _desk(self) -> Desk:
        return Desk(self.redis, self._link.keys, self.settings, _WHO)

    # -- runs ----------------------------------------------------------------------------------------------
    def enqueued(self, task: AnyTask | None = None) -> list[FleetRun[Any]]:
        """The runs that wait, of one task or of all, oldest first; those that are due later come last."""
        self._due.look()
        return enqueued.waiting(self._link, None if task is None else name_of(task))

    def assert_enqueued(self, task: AnyTask, /, times: int | None = None, **params: Any) -> None:
        """Assert that runs of ``task`` wait, with at least these parameters.

        Args:
            task: a decorated function, a class, or a name.
            times: how many there must be, 0 for none; None: at least one.
            params: compared with ``==``; one that was left out has its default.

        Raises:
            AssertionError: there are none, or not as many; shows what waits.
            NotFound: there is no such task.
            InvalidInput: it has no such parameter.
        """
        __tracebackhide__ = True
        name = name_of(task)
        enqueued.check(name, params, self.enqueued(), enqueued.defaults_of(self._link, name, params), times)

    def drain(self, limit: int | None = None, *, check: bool = True) -> list[FleetRun[Any]]:
        """Execute all that waits and is due, oldest first, and what that enqueues; returns the runs that have ended.

        Args:
            limit: how many attempts at most; what is left goes on waiting. None: all.
            check: whether a failed run is raised, as by `Runner.run`; what is behind it then waits on.

        Raises:
            Exception, RunFailed: a run failed.
            TaskqError: without a limit, 10,000 attempts were made and runs still wait.
        """
        __tracebackhide__ = True
        self._due.look()
        ended: list[FleetRun[Any]] = []
        passed: set[str] = set()
        for _ in range(MOST_ATTEMPTS if limit is None else limit):
            done = self._worker.work(passed)
            if done is None:
                return ended
            name, verdict = done
            if verdict is PUT_BACK:
                passed.add(name)
                continue
            run = self._read(name)
            if run.status in TERMINAL:
                ended.append(run)
                if check:
                    _raise(run)
        if limit is None:
            raise TaskqError(f"{MOST_ATTEMPTS:,} attempts were made, and runs still wait: does a task enqueue itself? Give a limit")
        return ended

    def _read(self, run: str, of: object = None) -> FleetRun[Any]:
        return enqueued.read(self._link, run, self._worker.errors.get(run), of)

    def _do(self, task: Any, args: tuple[Any, ...], params: dict[str, Any], options: Options, check: bool) -> FleetRun[Any]:
        __tracebackhide__ = True
        if options.due:
            raise InvalidInput("at, in_: a run that is due later can't be executed now: enqueue it by fleet.client, and move fleet.clock")
        if not isinstance(task, str):
            self._know(task)
        accepted = self._link.perform(self._link.core.enqueue(name_of(task), named(task, args, params), options))
        run = self._read(accepted.document["run"], task)
        while run.status not in TERMINAL and self._worker.work_on(run.id) is not None:
            run = self._read(run.id, task)
        run.deduplicated = accepted.deduplicated
        if check:
            if run.status not in TERMINAL:
                raise Conflict(f"run {run.id} of {run.task} was not executed, it is {run.status}: is the task paused?")
            _raise(run)
        return run

    def _know(self, task: Any) -> None:
        """Register an object that was not registered yet."""
        if isinstance(task, Task) and not isinstance(task, FunctionTask):
            task = type(task)
        if not self._code.knows(task):
            self.register(task)

    def _waited_for(self, stream: str, seconds: float) -> bool:
        """A client is about to block on a stream: if it waits for a run, it gets what a fleet would do in that time."""
        prefix = self._link.keys.rq_results("")
        if not stream.startswith(prefix):
            return False
        run = stream.removeprefix(prefix)
        while self._read(run).status not in TERMINAL:
            self._due.look()
            if self._worker.work() is None:
                break
        else:
            self._waits = 0
            return True
        self._waits += 1
        if self._waits > _MOST_WAITS:
            self._waits = 0
            raise TaskqError(f"run {run} is waited for, and nothing that could happen would end it: {self._read(run)!r}")
        target = self._time.stop() + seconds
        if self._due.quiet(target):
            self._time.move(target)
        else:
            self.clock.advance(seconds)
        return True

    # -- failures ------------------------------------------------------------------------------------------
    def fail(self, task: AnyTask, error: BaseException | type[BaseException], times: int = 1) -> None:
        """Have the next attempts of ``task`` raise ``error`` in place of being executed.

        Args:
            task: a decorated function, a class, or a name. ``error``: what is raised. ``times``: how many attempts.

        Raises:
            InvalidInput: ``times`` or ``error`` can't be.
        """
        if not isinstance(error, BaseException) and not (isinstance(error, type) and issubclass(error, BaseException)):
            raise InvalidInput(f"error={error!r} must be an exception, or its class")
        self._worker.faults.plan(name_of(task), Fault("fail", error), times)

    def time_out(self, task: AnyTask, times: int = 1) -> None:
        """Have the next attempts of ``task`` stopped by their timeout before their first line; see `Clock.advance` for one in
        their midst.
        """
        self._worker.faults.plan(name_of(task), Fault("late"), times)

    def lose(self, task: AnyTask, times: int = 1, *, done: bool = False) -> None:
        """Have the next attempts of ``task`` be lost with their worker, as by a power cut; the run then goes on with its next
        attempt.

        Args:
            task: a decorated function, a class, or a name. ``times``: how many attempts; the third loss of a run is its last.
            done: whether the code runs to its end first, and only its outcome is lost: what it did is then done again.
        """
        self._worker.faults.plan(name_of(task), Fault("lost", done=done), times)

    def outage(self) -> AbstractContextManager[None]:
        """A context in which Redis is away: clients raise `taskq.ServerUnreachable`."""
        return self._backend.outage()


def _raise(run: FleetRun[Any]) -> None:
    """Raise why a run did not succeed: what its code raised, or `RunFailed`."""
    __tracebackhide__ = True
    failure = failure_of(run.document)
    if failure is None:
        return
    if run.reason == "error" and run.exception is not None and not isinstance(run.exception, RetryRequested):
        raise run.exception.with_traceback(execution.from_task(run.exception.__traceback__))
    raise failure from run.exception
