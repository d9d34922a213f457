"""`FoundTask`, and what an answer of `describe` means for who asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskq.registry.errors import DistributionMissing, InspectionFailed, InvalidInput, Unsupported
from taskq.registry.model.spec import Spec


@dataclass(frozen=True, slots=True)
class FoundTask:
    """A task that a file declares: its name, the attribute of the module that it is, and its spec."""

    name: str
    attribute: str
    spec: Spec


def found_tasks(answer: Mapping[str, Any], file: str) -> list[FoundTask]:
    """The tasks of an answer of `describe`, in order of definition.

    Raises:
        DistributionMissing: the import lacks a distribution.
        InspectionFailed: the import failed, or the file holds no task; the message holds the traceback or reason.
        InvalidInput, Unsupported: a declaration is not allowed, or two tasks have one name.
    """
    error = answer.get("error")
    if error is not None:
        raise _failure(answer, f"{file}: {error}".rstrip(), file)
    tasks = [FoundTask(str(item["name"]), str(item["attribute"]), Spec.parse(item["spec"])) for item in answer["tasks"]]
    if not tasks:
        raise InspectionFailed(f"{file} holds no task: decorate a function with @task, or derive a class from taskq.Task")
    seen: dict[str, str] = {}
    for task in tasks:
        if task.name in seen:
            raise InvalidInput(f"{file}: {seen[task.name]} and {task.attribute} are both named {task.name}")
        seen[task.name] = task.attribute
    return tasks


def _failure(answer: Mapping[str, Any], message: str, file: str) -> Exception:
    refused = {"InvalidInput": InvalidInput, "Unsupported": Unsupported}.get(str(answer.get("refused")))
    if refused is not None:
        return refused(message)
    if answer.get("output"):
        message += f"\n--- it printed:\n{answer['output']}"
    missing = answer.get("missing")
    if missing:
        hint = f"install what provides {missing!r} here, or have a worker import the file with --inspect worker"
        return DistributionMissing(f"{file} imports {missing!r}, which is not installed\n{message}", hint=hint, module=str(missing))
    return InspectionFailed(message)
