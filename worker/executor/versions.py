"""The versions that this executor has loaded, side by side."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from taskq.registry.authoring.task import FunctionTask, Task
from taskq.registry.code.module import load_module, module_name, unload_module
from taskq.worker.link.lanes import ALONE, Lane

_LIMITS: Final = ("queue", "timeout", "max_result", "max_log", "max_log_bytes")
UNLOAD_WITHIN: Final = 5.0
"""Seconds that an ``on_unload`` may take."""
Arguments = Callable[[Callable[..., Any], Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version that can be run, with what is common to all its runs.

    Attributes:
        task, version: which one it is. ``queue``, ``timeout`` (seconds): of its runs, where these say nothing else.
        lane: what its runs may be in progress beside.
        max_result, max_log, max_log_bytes: how many bytes their results, and lines and bytes their logs may have.
        digest: of the artifact; versions of equal digest share one module.
        body: what is called with the parameters.
        instance: the one instance of a class-form task, or None.
        context: name of the parameter that receives the `TaskContext`, or None.
        convert: builds the arguments from the parameters where annotations ask for it, else None.
    """

    task: str
    version: int
    digest: str
    body: Callable[..., Any]
    instance: Task[..., Any] | None = None
    context: str | None = None
    convert: Arguments | None = None
    queue: str = "default"
    timeout: float = math.inf
    max_result: int = 16 * 1024 * 1024
    max_log: int = 10_000
    max_log_bytes: int = 4 * 1024 * 1024
    lane: Lane = ALONE


class Versions:
    """A version's index → loaded code. Modules are loaded once a digest, and dropped with the last version that uses them."""

    def __init__(self) -> None:
        self._loaded: dict[int, Loaded] = {}
        self._modules: dict[str, ModuleType] = {}

    def get(self, index: int) -> Loaded | None:
        """The version, or None if it isn't loaded."""
        return self._loaded.get(index)

    def load(self, order: Mapping[str, Any]) -> None:
        """Load the version that a LOAD message describes; nothing to do if it is loaded already.

        Raises:
            BaseException: whatever its code raises, ``SystemExit`` included; nothing of it is kept then.
            TypeError: the attribute is no task.
        """
        index = int(order["index"])
        if index in self._loaded:
            return
        digest = str(order["digest"])
        try:
            module = self._module(digest, order["source"], str(order["file"]))
            self._loaded[index] = loaded_from(module, digest, order)
        except BaseException:
            self._drop_unused(digest)
            raise

    def unload(self, index: int) -> None:
        """Drop the version, after its ``on_unload``; unknown ones are ignored. One that does not return ends the process."""
        loaded = self._loaded.pop(index, None)
        if loaded is None:
            return
        if loaded.instance is not None:
            self._take_leave(loaded.instance)
        digest = loaded.digest
        del loaded
        self._drop_unused(digest)

    @staticmethod
    def _take_leave(instance: Task[..., Any]) -> None:
        """Call its ``on_unload``. Nobody waits for the end of that, and all that comes after it would wait for ever."""
        if type(instance).on_unload is Task.on_unload:
            return
        faulthandler.dump_traceback_later(UNLOAD_WITHIN, exit=True, file=2)
        try:
            instance.on_unload()
        except BaseException:  # noqa: BLE001  # a task's on_unload may raise anything, also SystemExit; it is dropped all the same
            traceback.print_exc()
        finally:
            faulthandler.cancel_dump_traceback_later()

    def unload_all(self) -> None:
        """Drop every version: the process is about to end."""
        for index in list(self._loaded):
            self.unload(index)

    def _module(self, digest: str, source: bytes, file: str) -> ModuleType:
        module = self._modules.get(digest)
        if module is None:
            module = self._modules[digest] = load_module(source, module_name(digest), file)
        return module

    def _drop_unused(self, digest: str) -> None:
        if any(loaded.digest == digest for loaded in self._loaded.values()):
            return
        self._modules.pop(digest, None)
        unload_module(module_name(digest))
        gc.collect()  # a module and its functions refer to each other


def loaded_from(module: ModuleType, digest: str, order: Mapping[str, Any]) -> Loaded:
    """The version that a LOAD message describes, from its executed module.

    Raises:
        TypeError: the attribute is no task. BaseException: whatever the constructor of a class-form task raises.
    """
    attribute = str(order["attribute"])
    declared = getattr(module, attribute, None)
    instance: Task[..., Any] | None = None
    if isinstance(declared, FunctionTask):
        body = declared.function
    elif inspect.isclass(declared) and issubclass(declared, Task):
        instance = declared()
        body = instance.execute
    else:
        raise TypeError(f"{attribute} in {order['file']} is no task: {declared!r:.200}")
    if inspect.iscoroutinefunction(body):
        event_loop()  # imports asyncio now, ahead of the first run
    convert: Arguments | None = None
    if order.get("convert"):
        # By name and here: it imports pydantic, which costs 7 MiB, and few tasks ask for it.
        convert = importlib.import_module("taskq.registry.code.parameters").build_arguments
    limits: dict[str, Any] = {name: order[name] for name in _LIMITS if order.get(name) is not None}
    if order.get("lane"):
        limits["lane"] = Lane(str(order["lane"]), int(order["slots"]))
    return Loaded(str(order["task"]), int(order["version"]), digest, body, instance, order.get("context"), convert, **limits)


def event_loop() -> Any:
    """The module `coroutines`, imported when the first ``async def`` task asks for it: asyncio costs 5 MiB."""
    name = "taskq.worker.executor.coroutines"
    return sys.modules.get(name) or importlib.import_module(name)
