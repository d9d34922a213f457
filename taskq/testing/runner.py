"""`Runner`: runs tasks here and now; `FleetRun`: a run and what a test wants to know of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, overload

from taskq.producer.link import Link
from taskq.producer.options import Options
from taskq.producer.run import Run
from taskq.registry.authoring.context import TaskContext
from taskq.registry.authoring.task import FunctionTask, Task
from taskq.registry.runs.document import RunDocument

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST: Final = 300


class FleetRun(Run[R]):
    """A run of a fleet under test, as of the last time that it was read.

    Attributes:
        params: what it was enqueued with.
        exception: what its code raised in its last attempt here: the very object; None if it raised nothing, or was not
            executed.
    """

    __slots__ = ("exception", "params")

    def __init__(
        self, link: Link, document: RunDocument, params: dict[str, Any], *, exception: BaseException | None = None, of: object = None
    ) -> None:
        super().__init__(link, document, of=of)
        self.params, self.exception = params, exception

    @property
    def result(self) -> R:
        """What the task returned; None unless it has succeeded."""
        return self._returned()  # type: ignore[no-any-return]  # what the task returned is R

    def __repr__(self) -> str:
        shown = call(self.task, self.params)
        due = f", due {self.due_at}" if self.status in ("scheduled", "retrying") else ""
        why = f" ({self.reason})" if self.reason else ""
        return f"<run {self.id[:8]} of {shown}: {self.status}{why}{due}>"


def call(task: str, params: Mapping[str, Any]) -> str:
    """How a call of the task would be written, shortened if it is long."""
    text = f"{task}({', '.join(f'{name}={value!r}' for name, value in params.items())})"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


Do = Callable[[Any, tuple[Any, ...], dict[str, Any], Options, bool], FleetRun[Any]]
"""Task, positional and named parameters, options, whether a failure is raised → the run, ended."""


class Runner:
    """Runs tasks with given options; `taskq.testing.Fleet.options` makes one."""

    def __init__(self, do: Do, options: Options) -> None:
        self._do = do
        self._options = options

    @overload
    def run(
        self, task: FunctionTask[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /, *args: P.args, **params: P.kwargs
    ) -> FleetRun[R]: ...
    @overload
    def run(self, task: FunctionTask[P, Coroutine[Any, Any, R]], /, *args: P.args, **params: P.kwargs) -> FleetRun[R]: ...
    @overload
    def run(self, task: FunctionTask[Concatenate[TaskContext, P], R], /, *args: P.args, **params: P.kwargs) -> FleetRun[R]: ...
    @overload
    def run(self, task: FunctionTask[P, R], /, *args: P.args, **params: P.kwargs) -> FleetRun[R]: ...
    @overload
    def run(self, task: str | type[Task[..., Any]], /, **params: Any) -> FleetRun[Any]: ...
    def run(self, task: Any, /, *args: Any, **params: Any) -> FleetRun[Any]:
        """Enqueue a run and execute it now, before anything else that waits; returns it, ended.

        A decorated function or class that was not registered yet is registered. An attempt that is lost (`Fleet.lose`) is
        followed by the next, and so is one that its `Retry` follows up, without the delay: by `Fleet.drain` it would wait for the clock.

        Args:
            task: a decorated function (then the parameters are typed), a class, or the name of a registered task.
            params: the task's parameters; positional ones only with a decorated function.

        Raises:
            InvalidInput: the parameters don't fit its signature, or its declaration is not allowed.
            NotFound, TaskRetired: the task accepts no runs.
            Exception: what the task's code raised: the very object.
            RunFailed: it failed for another reason: its timeout, a result that can't be stored, lost too often.
            Conflict: it was not executed, since the task is paused.
        """
        __tracebackhide__ = True
        return self._do(task, args, params, self._options, True)

    @overload
    def attempt(
        self, task: FunctionTask[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /, *args: P.args, **params: P.kwargs
    ) -> FleetRun[R | None]: ...
    @overload
    def attempt(self, task: FunctionTask[P, Coroutine[Any, Any, R]], /, *args: P.args, **params: P.kwargs) -> FleetRun[R | None]: ...
    @overload
    def attempt(self, task: FunctionTask[Concatenate[TaskContext, P], R], /, *args: P.args, **params: P.kwargs) -> FleetRun[R | None]: ...
    @overload
    def attempt(self, task: FunctionTask[P, R], /, *args: P.args, **params: P.kwargs) -> FleetRun[R | None]: ...
    @overload
    def attempt(self, task: str | type[Task[..., Any]], /, **params: Any) -> FleetRun[Any]: ...
    def attempt(self, task: Any, /, *args: Any, **params: Any) -> FleetRun[Any]:
        """The same as `run`, but a failed run is returned as well: look at its ``status``, ``reason``, ``error`` and
        ``exception``.

        Raises:
            InvalidInput, NotFound, TaskRetired: it could not be enqueued.
        """
        __tracebackhide__ = True
        return self._do(task, args, params, self._options, False)
