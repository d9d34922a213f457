"""Finds out which tasks a file declares, by executing it where that can do no harm.

What a file declares is only known once it has run: decorators are code. So it is executed, and never in the process that
asks: `local.inspect_file` starts a clean interpreter with an allow-list of the environment and a deadline. That process
(`child`) does not execute the file either. It forks one that does, and stays in charge: whether the import returns, raises,
exits, crashes or hangs, there is somebody left who says so, and who kills all that descends from it. On Linux it is a
subreaper, so that a grandchild in a session of its own does not get away.

A file that needs a distribution which only the workers have is inspected by one of them (`remote.ask_worker`), in a
throw-away executor, by the same function `description.describe`. The answer is plain data either way.

Deliberately absent: reading decorators from the syntax tree. It would find most tasks and guess at the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.registry.inspection.description import describe
    from taskq.registry.inspection.found import FoundTask
    from taskq.registry.inspection.local import inspect_file
    from taskq.registry.inspection.remote import ask_worker

__all__ = ["FoundTask", "ask_worker", "describe", "inspect_file"]

_HOMES = {"FoundTask": "found", "ask_worker": "remote", "describe": "description", "inspect_file": "local"}


def __getattr__(name: str) -> Any:
    # Lazy: who describes a file in an executor must not pay for redis. No module may have one of these names: once it is imported, it is
    # what the package has under that name.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
