"""What a caller names a task by: its name, a decorated function, or a class; and what it names parameters by."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from taskq.registry.authoring.task import FunctionTask, Task, body_of, declared, find_context
from taskq.registry.errors import InvalidInput
from taskq.registry.names import check

AnyTask = str | Task[..., Any] | type[Task[..., Any]]


def name_of(task: object) -> str:
    """The task's name.

    Raises:
        InvalidInput: it is neither a valid name, nor a decorated function, nor a subclass of `Task`.
    """
    if isinstance(task, FunctionTask) or (inspect.isclass(task) and issubclass(task, Task)):
        return check("task", declared(task)[0])
    if isinstance(task, Task):
        return check("task", declared(type(task))[0])
    return check("task", task)


def named(task: object, args: Sequence[Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Positional arguments and parameters as parameters by name, as calling the task would bind them.

    Raises:
        InvalidInput: there are positional arguments, and the task was given by name, so that its signature isn't known;
            or they don't fit its signature.
    """
    if not args:
        return dict(params)
    if not isinstance(task, FunctionTask):
        raise InvalidInput(f"task {name_of(task)}: parameters are passed by name, not by position")
    signature = inspect.signature(body_of(task))
    context = find_context(signature, {})
    kept = [parameter for name, parameter in signature.parameters.items() if name != context]
    try:
        return dict(signature.replace(parameters=kept).bind_partial(*args, **params).arguments)
    except TypeError as error:
        raise InvalidInput(f"task {name_of(task)}: {error}") from None
