"""`@task` and `Task`: how work is declared.

A decorated function stays callable and typed. What the decorator was given is kept as written in ``options``; nothing is
validated, registered or connected at import.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

from taskq.registry.authoring.context import TaskContext
from taskq.registry.authoring.duration import Duration
from taskq.registry.authoring.retry import Retry
from taskq.registry.names import snake_case

P = ParamSpec("P")
R = TypeVar("R")


class Task(Generic[P, R]):
    """A unit of work with a name.

    Two forms: ``@task`` makes one from a function. A subclass is one with a life cycle of its own: it defines
    ``execute(self, **params)`` and, where wanted, ``metadata()`` (a mapping of the options of `task`), ``set_context``
    and ``on_unload``. An executor makes one instance of the class for each version that it loads.
    """

    def execute(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The work. A subclass must define it; it may be ``async def``."""
        raise NotImplementedError(f"{type(self).__name__} must define execute()")

    @classmethod
    def metadata(cls) -> Mapping[str, Any]:
        """Options of this task, the same as `task` takes."""
        return {}

    def set_context(self, ctx: TaskContext) -> None:
        """Called before each run; `ctx` then gives the context."""
        _contexts.set(ctx)

    @property
    def ctx(self) -> TaskContext:
        """The context of the run in progress.

        Raises:
            LookupError: no run is in progress.
        """
        return _contexts.get()

    def on_unload(self) -> None:
        """Called when an executor drops this version, after its last run."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.execute(*args, **kwargs)


_contexts: ContextVar[TaskContext] = ContextVar("taskq_task_context")


class FunctionTask(Task[P, R]):
    """What `@task` makes: the function, its name and its options. Calling it calls the function."""

    def __init__(self, function: Callable[P, R], options: dict[str, Any]) -> None:
        self.function = function
        self.options = options
        self.name: str = options.get("name") or function.__name__.lower()
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def execute(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.name} {self.__module__}.{self.__qualname__}>"


@overload
def task(function: Callable[P, R], /) -> FunctionTask[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    queue: str = "default",
    labels: Mapping[str, str] | None = None,
    every: Duration | None = None,
    cron: str | None = None,
    timezone: str | None = None,
    at: datetime | str | None = None,
    on: str | Sequence[str] | None = None,
    timeout: Duration = 300.0,
    grace: Duration = 5.0,
    retry: Retry | None = None,
    on_lost: Literal["retry", "fail"] = "retry",
    result_ttl: Duration = 3600.0,
    failure_ttl: Duration = 604_800.0,
    concurrency: int | None = None,
    rate: str | None = None,
    misfire: Literal["once", "skip", "all"] = "once",
    overlap: Literal["allow", "skip"] = "allow",
    on_update: Literal["drain", "restart", "migrate"] = "drain",
    drain_timeout: Duration | None = None,
    isolation: Literal["shared", "process"] = "shared",
    resources: Mapping[str, Any] | None = None,
    threads: int | None = None,
    requires: Sequence[str] | None = None,
    needs: Sequence[str] | None = None,
    secrets: Sequence[str] | None = None,
    idempotent: bool = False,
) -> Callable[[Callable[P, R]], FunctionTask[P, R]]: ...
def task(function: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Declare a function as a task.

    Args:
        name: the task's name; the function's, lower-cased, if None.
        queue: the queue that its runs wait in.
        labels: free text by key, for people and filters.
        every: it runs each time that this much time has passed, from 0.1 s to 366 days: at the multiples since the epoch, so that
            ``"1h"`` means full hours (UTC) and nothing drifts.
        cron: it runs at the times of this expression: 5 fields (minute, hour, day, month, weekday; day *or* weekday suffices if both
            are restricted), or ``@hourly``, ``@daily``, ``@weekly``, ``@monthly``, ``@yearly``. A time that the clocks skip is made up for
            when they are moved; one that they show twice counts once, unless the hour field is ``*``: that goes on hour by hour.
        timezone: the IANA name of the zone in which ``cron``, or an ``at`` without a zone, is meant; UTC if None.
        at: it runs once at this moment: an aware datetime, or ISO 8601 text like ``"2026-12-01T09:00:00+01:00"``.
            ``every``, ``cron`` and ``at`` together are several schedules. A task that has one must be able to run without parameters.
        misfire: what happens to slots that nobody could fire in time: ``"once"`` runs the newest of them, ``"skip"`` none, ``"all"`` each.
        overlap: ``"skip"`` leaves out a slot while the run of the slot before it has not ended; ``"allow"`` starts it beside.
        on: the events that trigger it.
        timeout: how long a run may take. ``grace``: how long it then has to stop.
        retry: how often and how soon a failed run is tried again; see `Retry`. Never, if None.
        on_lost: what happens to a run whose worker or executor was lost: ``"retry"`` runs it again, up to three losses; ``"fail"``
            fails it with reason ``lost``.
        result_ttl, failure_ttl: how long outcomes are kept.
        concurrency, rate: limits on its runs.
        on_update, drain_timeout: what happens to running runs when its code changes.
        threads: for plain functions that mostly wait: an executor has up to so many of its runs (1 to 64) in progress at once, each on
            a thread of its own, so its code must be thread-safe. A stop reaches such a run only between two steps of Python: one that waits
            in a call is ended with its executor at the end of the grace, and what else was in progress there runs again. If None, a run
            has its executor for itself. ``async def`` tasks need it not: their runs share the executor's event loop.
        resources: the most that one run may use, as a mapping of ``"memory"`` (bytes, or text like ``"256M"``), ``"pids"`` (processes
            and threads) and ``"cpu"`` (cores, such as 0.5). What the executor used before the run is not counted. Above ``memory`` its
            executor is killed, and the run fails with the reason ``oom``; above ``pids`` nothing more can be started; ``cpu`` slows it
            down. It is alone in its executor meanwhile, and what it leaves behind is killed. `taskq doctor` says which of them the
            workers can't enforce.
        isolation, requires, needs, secrets: where and with what it runs.
        idempotent: whether running it twice does no harm.

    Durations are seconds or text like ``"30s"``. A field that this release does not support is refused when the task
    is registered.

    Raises:
        TypeError: an option is unknown, or what is decorated is no function.
    """
    unknown = sorted(set(options) - OPTIONS)
    if unknown:
        raise TypeError(f"@task has no option {', '.join(map(repr, unknown))}; it has {', '.join(sorted(OPTIONS))}")
    if function is None:
        return lambda decorated: _decorate(decorated, options)
    return _decorate(function, options)


def _decorate(function: Callable[P, R], options: dict[str, Any]) -> FunctionTask[P, R]:
    if not inspect.isfunction(function):
        raise TypeError(f"@task decorates functions; for a class, derive it from taskq.Task instead (got {function!r})")
    return FunctionTask(function, options)


OPTIONS = frozenset(
    "name queue labels every cron timezone at on timeout grace retry on_lost result_ttl failure_ttl concurrency rate misfire "
    "overlap on_update drain_timeout isolation resources threads requires needs secrets idempotent".split()
)


def tasks_in(namespace: Mapping[str, Any], module: str) -> dict[str, Any]:
    """Tasks that a module defines itself: attribute → `FunctionTask` or subclass of `Task`, in order of definition.

    One that has several attributes counts once, by the first.

    Args:
        namespace: the module's ``__dict__``.
        module: its ``__name__``; what was imported from elsewhere does not count.
    """
    found: dict[int, tuple[str, Any]] = {}
    for attribute, value in namespace.items():
        is_class = inspect.isclass(value) and issubclass(value, Task) and value not in (Task, FunctionTask)
        if (is_class or isinstance(value, FunctionTask)) and value.__module__ == module:
            found.setdefault(id(value), (attribute, value))
    return dict(found.values())


def declared(value: Any) -> tuple[str, dict[str, Any]]:
    """Name and options of what `tasks_in` found.

    Raises:
        TypeError: a class's ``metadata()`` is not a mapping or holds unknown options.
    """
    if isinstance(value, FunctionTask):
        return value.name, dict(value.options)
    options = value.metadata()
    if not isinstance(options, Mapping) or set(options) - OPTIONS:
        raise TypeError(f"{value.__name__}.metadata() must return a mapping of options of @task, not {options!r}")
    return options.get("name") or snake_case(value.__name__), dict(options)


def body_of(value: Any) -> Callable[..., Any]:
    """The callable whose signature is the task's: the function, or the class's ``execute``."""
    return value.function if isinstance(value, FunctionTask) else value.execute


def find_context(signature: inspect.Signature, hints: Mapping[str, Any]) -> str | None:
    """Name of the parameter that receives the context: annotated as `TaskContext`. None if there is none.

    Args:
        signature: of the task's body, without ``self``.
        hints: its resolved annotations; an unresolved one may still be text.
    """
    for name, parameter in signature.parameters.items():
        hint = hints.get(name, parameter.annotation)
        if hint is TaskContext or (isinstance(hint, str) and hint.split(".")[-1] == "TaskContext"):
            return name
    return None
