"""Executes the source of an artifact as a module of its own. Standard library only: executors import this."""

from __future__ import annotations

import linecache
import sys
from importlib.machinery import ModuleSpec
from importlib.util import decode_source
from types import ModuleType
from typing import Final

PREFIX: Final = "taskq_code_"

# Module name → the file name that its code objects carry.
_files: dict[str, str] = {}


def module_name(digest: str) -> str:
    """The name under which the artifact of this digest (hex) is executed."""
    return PREFIX + digest[:16]


def load_module(source: bytes, name: str, file: str) -> ModuleType:
    """Compile ``source`` and execute it as module ``name``.

    Args:
        source: the file's bytes; an encoding cookie is honoured.
        name: the module's name, unique to its content; see `module_name`.
        file: the file name for tracebacks. Where another loaded module has it, the end of ``name`` is appended, so that
            each traceback shows the lines of its own version.

    Returns:
        the module, which is in ``sys.modules`` from before its execution until `unload_module`.

    Raises:
        BaseException: whatever compiling or executing raises, ``SystemExit`` included; ``sys.modules`` is then as before.
    """
    shown = file if all(other != file or owner == name for owner, other in _files.items()) else f"{file}@{name[-16:]}"
    # Kept after a failure, so that its traceback can be shown; the next load of that file replaces it.
    _remember_lines(source, shown)
    code = compile(source, shown, "exec", dont_inherit=True)
    module = ModuleType(name)
    module.__file__ = shown
    module.__spec__ = ModuleSpec(name, None, origin=shown)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102  # executing what was registered is the purpose
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    _files[name] = shown
    return module


def unload_module(name: str) -> None:
    """Forget module ``name``; it is freed when the last object of it is gone. Unknown names are ignored."""
    sys.modules.pop(name, None)
    shown = _files.pop(name, None)
    if shown is not None:
        linecache.cache.pop(shown, None)


def _remember_lines(source: bytes, shown: str) -> None:
    try:
        text = decode_source(source)
    except (SyntaxError, UnicodeDecodeError):
        return  # compile() will say what is wrong with it
    # An entry without a modification time is never checked against a file on disk.
    linecache.cache[shown] = (len(source), None, text.splitlines(keepends=True), shown)
