"""``dev``: a task in this process, for its author."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import sys
from collections.abc import Mapping
from importlib.util import decode_source
from pathlib import Path
from typing import Any

import click

from taskq.cli import output
from taskq.cli.arguments import read_object, split_params
from taskq.cli.options import Options, command
from taskq.registry import clock
from taskq.registry.authoring.context import TaskContext, reset_current, set_current
from taskq.registry.authoring.retry import RetryRequested
from taskq.registry.authoring.task import Task, body_of, declared, tasks_in
from taskq.registry.code.artifact import digest_of
from taskq.registry.code.imports import local_imports
from taskq.registry.code.module import load_module, module_name
from taskq.registry.code.parameters import build_arguments, parameters_of
from taskq.registry.code.traces import format_error
from taskq.registry.code.validation import Validator
from taskq.registry.errors import InvalidInput, NotFound, TaskqError
from taskq.registry.model.spec import Spec

_RUN = "dev"
# Folders whose frames say nothing to the author of a task.
_MACHINERY = tuple(f"{Path(file).resolve().parents[depth]}/" for file, depth in ((__file__, 1), (asyncio.__file__, 0)))


@command(
    "dev",
    examples="""
    taskq dev tasks.py sync_inventory region=eu
    taskq dev tasks.py                      # the file's only task
    taskq dev tasks.py report days:=7 --args '{"format": "html"}'
    """,
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("task", required=False)
@click.argument("params", nargs=-1, metavar="[K=V | K:=JSON]...")
@click.option("--args", metavar="JSON", help="Parameters as one JSON object; single ones on the line win.")
def dev_command(options: Options, *, file: Path, task: str | None, params: tuple[str, ...], args: str | None) -> None:
    """Run TASK of FILE in this process, without a server and without a timeout.

    Parameters are checked as they would be for a run. breakpoint() and pdb work; Ctrl-C is a KeyboardInterrupt in the task.
    """
    if task and "=" in task:
        params, task = (task, *params), None
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    texts, values = split_params(params)
    base = read_object("--args", args) if args else {}
    # With --json stdout is for the document alone; what the task prints then goes to stderr.
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        name, found = _choose(_load(file), task, file)
        result = _run(name, found, base, texts, values)
    if options.json:
        output.document({"task": name, "result": result})
    else:
        output.plain(result)


def _load(file: Path) -> dict[str, Any]:
    """Name → task of the file."""
    source, folder = file.read_bytes(), file.resolve().parent
    _warn_of_neighbours(source, file, folder)
    sys.path.insert(0, str(folder))
    try:
        module = load_module(source, module_name(digest_of(source)), str(file))
    except Exception as error:  # the user's own code may raise anything; it is shown to who wrote it
        raise TaskqError(f"{file} can't be imported:\n{format_error(error).rstrip()}") from error
    return {declared(value)[0]: value for value in tasks_in(vars(module), module.__name__).values()}


def _warn_of_neighbours(source: bytes, file: Path, folder: Path) -> None:
    try:
        beside = local_imports(decode_source(source), folder)
    except (SyntaxError, UnicodeDecodeError):
        return  # the import says it better
    if beside:
        output.warn(f"{file} imports {', '.join(beside)} beside it: that works here, but `taskq register` takes one file")


def _choose(tasks: Mapping[str, Any], wanted: str | None, file: Path) -> tuple[str, Any]:
    names = ", ".join(tasks)
    if not tasks:
        raise NotFound(f"{file} declares no task", hint="decorate a function with @task")
    if wanted is None and len(tasks) > 1:
        raise InvalidInput(f"{file} declares {len(tasks)} tasks: say which of {names}")
    name = wanted or next(iter(tasks))
    if name not in tasks:
        raise NotFound(f"{file} declares no task {name}; it has {names}")
    return name, tasks[name]


def _run(name: str, task: Any, base: Mapping[str, Any], texts: list[tuple[str, str]], values: Mapping[str, Any]) -> Any:
    is_class = inspect.isclass(task)
    parameters = parameters_of(body_of(task), is_method=is_class)
    options = declared(task)[1]
    spec = Spec.from_options(name, options, parameters=parameters)
    validator = Validator(parameters)
    params = validator.check({**base, **validator.from_text(texts), **values})
    instance: Task[..., Any] | None = task() if is_class else None
    body = instance.execute if instance else body_of(task)
    arguments = build_arguments(body, params) if parameters.convert else params
    context = TaskContext(run=_RUN, task=name, version=0, queue=spec.queue, deadline=None)
    if parameters.context:
        arguments[parameters.context] = context
    token = set_current(context)
    begin = clock.monotonic()
    try:
        if instance:
            instance.set_context(context)
        made = body(**arguments)
        result = asyncio.run(_awaited(made)) if inspect.isawaitable(made) else made
    except Exception as error:  # the user's own code may raise anything; it is shown to who wrote it
        raise TaskqError(f"{name} failed after {clock.monotonic() - begin:.2f} s:\n{format_error(error, *_MACHINERY).rstrip()}") from error
    except RetryRequested as asked:
        when = "by its policy" if asked.delay is None else f"in {asked.delay:g} s"
        raise TaskqError(f"{name} asked to be tried again {when}: {asked}", hint="a worker would; here an attempt is all") from asked
    finally:
        reset_current(token)
    output.note(f"{name} succeeded after {clock.monotonic() - begin:.2f} s.")
    return result


async def _awaited(made: Any) -> Any:
    return await made
