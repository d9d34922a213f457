"""Tracebacks as the author of a task wants to read them. Standard library only: executors import this."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path
from typing import Final

from taskq.registry.code.module import PREFIX

# The folder of each of our rooms: frames in them, and in the import machinery, say nothing to the author of a task.
_OURS: Final = f"{Path(__file__).resolve().parents[1]}{os.sep}"
_MACHINERY: Final = "<frozen importlib"
# Before the name of an exception that a task's own file declares: the module has a name of ours, which says nothing.
_OWN_MODULE: Final = re.compile(rf"^{PREFIX}[0-9a-f]+\.", re.MULTILINE)


def format_error(error: BaseException, *ours: str) -> str:
    """The traceback of ``error`` and of what caused it, without frames of taskq and the import machinery.

    Args:
        error: the exception.
        ours: folders (ending in a separator) whose frames are left out besides taskq's registry.
    """
    folders = (_OURS, *ours)
    shown = traceback.TracebackException.from_exception(error)
    _trim(shown, folders, set())
    return _OWN_MODULE.sub("", "".join(shown.format())).rstrip() + "\n"


def last_line(error: BaseException) -> str:
    """``ValueError: what it says``: the exception in one line; of a text of several lines the first, which names the class."""
    try:
        text = _OWN_MODULE.sub("", "".join(traceback.format_exception_only(error)).strip())
    except Exception as broken:  # noqa: BLE001  # __str__ of a task's exception may raise anything; its type still counts
        return f"{type(error).__name__}: <its text can't be shown: {type(broken).__name__}>"
    # What is wrong with the syntax stands behind the place where it is; notes and the rest of a text stand behind all others.
    at = -1 if isinstance(error, SyntaxError) else 0
    return text.splitlines()[at] if text else type(error).__name__


def _trim(shown: traceback.TracebackException, folders: tuple[str, ...], seen: set[int]) -> None:
    if id(shown) in seen:
        return
    seen.add(id(shown))
    kept = [frame for frame in shown.stack if not frame.filename.startswith((*folders, _MACHINERY))]
    shown.stack = traceback.StackSummary.from_list(kept)
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            _trim(other, folders, seen)
