"""`describe`: executes a file and says which tasks it declares, as plain data."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from importlib.machinery import PathFinder
from typing import Any

from taskq.registry import codec
from taskq.registry.authoring.task import FunctionTask, body_of, declared, tasks_in
from taskq.registry.code.module import load_module, module_name, unload_module
from taskq.registry.code.parameters import parameters_of
from taskq.registry.code.traces import format_error
from taskq.registry.errors import InvalidInput, TaskqError, Unsupported
from taskq.registry.model.spec import Spec
from taskq.registry.names import check


def describe(source: bytes, file: str) -> dict[str, Any]:
    """Execute ``source`` in this process and describe what it declares.

    Args:
        source: the file's bytes. ``file``: its name, for tracebacks.

    Returns:
        ``tasks``: list of ``{name, attribute, spec}``; ``error``: traceback or reason, or None; ``missing``: the module
        that could not be imported because no distribution provides it, or None; ``refused``: the name of the error class
        where a declaration is not allowed, or None.
    """
    name = module_name(hashlib.sha256(source).hexdigest())
    try:
        module = load_module(source, name, file)
        return _answer(tasks=[described(attribute, value) for attribute, value in tasks_in(vars(module), name).items()])
    except ModuleNotFoundError as error:
        return _answer(error=format_error(error), missing=_missing(error))
    except SystemExit as error:
        return _answer(error=f"the import called sys.exit({'' if error.code is None else repr(error.code)})\n{format_error(error)}")
    except TaskqError as error:
        kind = Unsupported if isinstance(error, Unsupported) else InvalidInput if isinstance(error, InvalidInput) else None
        return _answer(error=error.message if kind else format_error(error), refused=kind.__name__ if kind else None)
    except BaseException as error:  # noqa: BLE001  # code of a user may raise anything; it is recorded in the answer
        return _answer(error=format_error(error))
    finally:
        unload_module(name)


def _answer(**given: Any) -> dict[str, Any]:
    return {"tasks": [], "error": None, "missing": None, "refused": None} | given


def described(attribute: str, value: Any) -> dict[str, Any]:
    """``{name, attribute, spec}`` of a decorated function or a class that stands as ``attribute`` in its module.

    Raises:
        InvalidInput, Unsupported: its declaration is not allowed.
    """
    name, options = declared(value)
    check("task", name)
    try:
        parameters = parameters_of(body_of(value), is_method=not isinstance(value, FunctionTask))
    except InvalidInput as error:
        raise InvalidInput(f"task {name}: {error.message}") from None
    own = value.__doc__ if isinstance(value, FunctionTask) else vars(value).get("__doc__")
    coroutine = inspect.iscoroutinefunction(body_of(value))
    spec = Spec.from_options(name, _plain(options), parameters=parameters, coroutine=coroutine, doc=inspect.cleandoc(own or ""))
    found = {"name": name, "attribute": attribute, "spec": spec.model_dump(mode="python")}
    try:
        codec.dumps(found)
    except InvalidInput as error:
        raise InvalidInput(f"task {name}: a default, a limit or the docstring can't be stored: {error.message}") from None
    return found


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    labels = options.get("labels")
    return dict(options) | ({"labels": dict(labels)} if isinstance(labels, Mapping) else {})


def _missing(error: ModuleNotFoundError) -> str | None:
    top = (error.name or "").split(".")[0]
    try:
        return top if top and PathFinder.find_spec(top) is None else None
    except (ImportError, ValueError):
        return None
