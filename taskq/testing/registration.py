"""Which code is which version: tasks of the test's own process are registered as the objects that they are."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final, cast

from taskq.registry.authoring.task import FunctionTask, Task, body_of, tasks_in
from taskq.registry.changes.desk import Desk
from taskq.registry.changes.plan import Wanted
from taskq.registry.changes.register import Order, release
from taskq.registry.code.artifact import digest_of
from taskq.registry.errors import InvalidInput
from taskq.registry.inspection.description import described
from taskq.registry.inspection.sources import origin_of
from taskq.registry.model.record import VersionRecord
from taskq.registry.model.spec import Spec
from taskq.worker.executor.versions import Loaded, Versions, loaded_from
from taskq.worker.loading.stored import load_order

_ORIGIN: Final = "tests"


@dataclass(frozen=True, slots=True)
class Declared:
    """A task as an object of this process, with what a registration needs to know of it."""

    task: Any
    wanted: Wanted
    source: bytes

    @classmethod
    def of(cls, task: Any) -> Declared:
        """A decorated function, or a subclass of `Task`; raises `InvalidInput` if its declaration is not allowed."""
        module, attribute = sys.modules.get(task.__module__), task.__name__
        found = next((name for name, value in vars(module).items() if value is task), None) if module is not None else None
        file = getattr(module, "__file__", None)
        source = _file_source(file) if found is not None else None
        known = described(found or attribute, task)
        origin, shown = origin_of(Path(file)) if file else (_ORIGIN, task.__qualname__)
        data = _own_source(task) if source is None else source
        return cls(task, Wanted(known["name"], digest_of(data), known["attribute"], shown, origin, Spec.parse(known["spec"])), data)


class Code:
    """The code of versions: of objects the objects themselves, of files what an executor makes of them."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, int], tuple[Any, Loaded]] = {}
        self._files = Versions()
        self._indices: dict[tuple[str, int], int] = {}

    def knows(self, task: Any) -> bool:
        """Whether this very object is a version of a task."""
        return any(known is task for known, _ in self._objects.values())

    def register(self, desk: Desk, tasks: Sequence[Any]) -> list[dict[str, Any]]:
        """Register objects as one release; returns the documents of `taskq.Registry.register`.

        Raises:
            InvalidInput, Unsupported: a declaration is not allowed. Conflict: its content was rolled back from.
        """
        given = [Declared.of(task) for task in tasks]
        order = Order.of({"take_over": True}, desk.settings.stage_timeout)
        documents = release(desk, [one.wanted for one in given], [one.source for one in given], order)
        for one, document in zip(given, documents, strict=True):
            self._adopt((document["task"], document["version"]), one)
        return documents

    def _adopt(self, key: tuple[str, int], given: Declared) -> None:
        if key in self._objects and self._objects[key][0] is given.task:
            return
        wanted = given.wanted
        record = VersionRecord(
            task=key[0], version=key[1], digest=wanted.digest, attribute=wanted.attribute, file=wanted.file, spec=wanted.spec
        )
        module = cast(ModuleType, SimpleNamespace(**{wanted.attribute: given.task}))
        self._objects[key] = given.task, loaded_from(module, wanted.digest, load_order(record, given.source))

    def get(self, record: VersionRecord, source: bytes) -> Loaded:
        """What is to be called for a version; a file is imported when its first run comes.

        Raises:
            BaseException: whatever the file's import raises.
        """
        key = record.task, record.version
        if key in self._objects:
            return self._objects[key][1]
        index = self._indices.setdefault(key, len(self._indices) + 1)
        self._files.load({**load_order(record, source), "index": index})
        loaded = self._files.get(index)
        assert loaded is not None  # noqa: S101  # it was loaded just now
        return loaded

    def close(self) -> None:
        """Call ``on_unload`` of class-form tasks, and forget the modules of files."""
        objects, self._objects = self._objects, {}
        try:
            for _, loaded in objects.values():
                if loaded.instance is not None:
                    loaded.instance.on_unload()
        finally:
            self._files.unload_all()


def tasks_of(thing: Any) -> list[Any]:
    """The tasks that a user names: a decorated function, a subclass of `Task`, or a module with all that it declares.

    Raises:
        InvalidInput: it is none of these, or a module without a task.
    """
    if isinstance(thing, FunctionTask) or (inspect.isclass(thing) and issubclass(thing, Task) and thing not in (Task, FunctionTask)):
        return [thing]
    if not isinstance(thing, ModuleType):
        raise InvalidInput(
            f"{thing!r:.200} can't be registered: give a function with @task, a subclass of Task, a module, or a file's path"
        )
    found = list(tasks_in(vars(thing), thing.__name__).values())
    if not found:
        raise InvalidInput(f"module {thing.__name__} declares no task; tasks that it imports belong to the modules that declare them")
    return found


def _file_source(file: str | None) -> bytes | None:
    try:
        return Path(file).read_bytes() if file else None
    except OSError:
        return None


def _own_source(task: Any) -> bytes:
    """The text of the definition itself: a task that is no attribute of its module is told from others in the same file by it."""
    body = body_of(task)
    try:
        return textwrap.dedent(inspect.getsource(body if isinstance(task, FunctionTask) else task)).encode()
    except (OSError, TypeError):
        return f"# {task.__qualname__}: its source is not known\n# {body.__code__.co_code.hex()} {body.__code__.co_consts!r}\n".encode()
