"""What waits: reading it, and asserting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq.producer.link import Link
from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import InvalidInput, NotFound
from taskq.registry.keys import Keys
from taskq.registry.model.record import TaskRecord
from taskq.registry.runs.document import RunDocument, read_run
from taskq.registry.serializer import load_params
from taskq.testing.runner import FleetRun, call

_SHOWN: Final = 20


def waiting(link: Link, task: str | None = None) -> list[FleetRun[Any]]:
    """The runs that wait, in the order in which they came to wait; those that are due later last, in the order of their times."""
    runs = [read(link, run) for run in link.perform(_waiting(link.keys))]
    return sorted(
        (run for run in runs if task in (None, run.task)),
        key=lambda run: (run.status == "scheduled", run.due_at or "", run.queued_at or ""),
    )


def read(link: Link, run: str, exception: BaseException | None = None, of: object = None) -> FleetRun[Any]:
    """A run with its parameters; ``of``: its task as it was given."""
    return FleetRun(link, *link.perform(_read(link.keys, run)), exception=exception, of=of)


def defaults_of(link: Link, task: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What the parameters of a task are if they are left out, as far as that has a JSON form; raises `InvalidInput` if one that
    is ``wanted`` is none of them: no run could ever have it.
    """
    blob = link.perform(_ask(Command("HGET", link.keys.registry, task)))
    if blob is None:
        raise NotFound(f"there is no task {task} in this fleet: register it with fleet.register(…)")
    schema = TaskRecord.load(blob).spec.parameters.json_schema
    properties: Mapping[str, Any] = schema.get("properties", {})
    unknown = [name for name in wanted if name not in properties]
    if unknown and schema.get("additionalProperties") is False:
        raise InvalidInput(f"unknown parameter {', '.join(unknown)}: {task} takes {', '.join(properties) or 'none'}")
    return {name: about["default"] for name, about in properties.items() if isinstance(about, dict) and "default" in about}


def check(task: str, wanted: Mapping[str, Any], runs: Sequence[FleetRun[Any]], defaults: Mapping[str, Any], times: int | None) -> None:
    """Raise `AssertionError` unless ``times`` of the runs are of ``task`` and have the ``wanted`` parameters; None: at least one."""
    __tracebackhide__ = True
    count = sum(run.task == task and _fits(wanted, {**defaults, **run.params}) for run in runs)
    if count == times or (times is None and count):
        return
    expected = call(task, wanted)
    what = f"no run of {expected} waits" if not count else f"{count} {'run' if count == 1 else 'runs'} of {expected} waiting, not {times}"
    if times and not count:
        what += f", {times} should"
    listed = [f"  {run!r}" for run in runs[:_SHOWN]] + ([f"  … and {len(runs) - _SHOWN} more"] if len(runs) > _SHOWN else [])
    raise AssertionError("\n".join([f"{what}; waiting are:" if listed else f"{what}; nothing waits", *listed]))


def _fits(wanted: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    return all(name in params and value == params[name] for name, value in wanted.items())


def _waiting(keys: Keys) -> Op[list[str]]:
    prefix = keys.rq_queue("")
    queues = [name.decode() for name in (yield Command("SMEMBERS", keys.rq_queues)) if name.decode().startswith(prefix)]
    parked = [keys.parked(task.decode()) for task in (yield Command("SMEMBERS", keys.parked_tasks))]
    lists = yield Pipeline([Command("LRANGE", name, 0, -1) for name in [*parked, *queues]])
    scheduled = yield Command("ZRANGE", keys.scheduler_runs, 0, -1)
    return [run.decode() for page in [*lists, scheduled] for run in page]


def _read(keys: Keys, run: str) -> Op[tuple[RunDocument, dict[str, Any]]]:
    document = yield from read_run(keys, run)
    return document, load_params((yield Command("HGET", keys.rq_job(run), "data")))


def _ask(command: Command) -> Op[Any]:
    return (yield command)
