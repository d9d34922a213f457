"""Finds the files that were named on a command line, and says whose they are."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import decode_source
from pathlib import Path

from taskq.registry.code.imports import refuse_local_imports
from taskq.registry.errors import InvalidInput, Unsupported
from taskq.registry.inspection.declares import declares_tasks
from taskq.registry.names import check

_PROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a registration.

    ``shown`` is its name for people, as they gave it; ``file`` the one that is recorded: within its project, if it has one;
    ``origin`` the project that it belongs to.
    """

    shown: str
    file: str
    origin: str
    data: bytes


def find_sources(paths: Sequence[str | Path], *, largest: int, origin: str | None = None) -> list[Source]:
    """The files that ``paths`` name, in their order; of a folder each ``*.py`` in it that declares a task.

    Args:
        paths: files and folders. ``largest``: size of an artifact in bytes that is still accepted.
        origin: theirs; what each one's project says if None.

    Raises:
        InvalidInput: one does not exist, can't be read, is too large, holds no text, or imports modules beside it; or a folder
            declares nothing.
        Unsupported: another kind of artifact is named.
    """
    found: dict[Path, Source] = {}
    for given in paths:
        try:
            found.update({file.resolve(): _read(file, largest, origin) for file in _files(Path(given))})
        except OSError as error:
            raise InvalidInput(f"{error.filename or given}: can't be read: {error.strerror}") from None
    return list(found.values())


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = [file for file in sorted(path.glob("*.py")) if file.is_file() and declares_tasks(file.read_bytes())]
    if not inside:
        raise InvalidInput(f"{path}: no *.py file in this folder declares a task")
    return inside


def one_source(name: str, data: bytes, *, largest: int, origin: str | None = None) -> Source:
    """A source that was given as bytes; its origin is that of the working folder unless named."""
    _check_size(name, data, largest)
    own, _ = origin_of(Path.cwd() / Path(name).name)
    return Source(name, name, check("origin", origin or own), data)


def origin_of(path: Path) -> tuple[str, str]:
    """Origin and recorded name of a file.

    The origin is the ``name`` of the nearest pyproject.toml, and the file is named from that folder on; without one it is
    the file's folder, and the file goes by its name.
    """
    full = path.resolve()
    for folder in full.parents:
        name = _project(folder / _PROJECT)
        if name is not None:
            return _as_origin(name), full.relative_to(folder).as_posix()
    return _as_origin(full.parent.name), full.name


def _read(path: Path, largest: int, origin: str | None) -> Source:
    if not path.is_file():
        _refuse(path)
    if path.suffix != ".py":
        raise Unsupported(f"{path}: only Python files (*.py) can be registered by this release")
    data = path.read_bytes()
    _check_size(str(path), data, largest)
    with contextlib.suppress(SyntaxError, ValueError):  # its inspection says what is wrong, with the line
        refuse_local_imports(decode_source(data), path.resolve().parent, str(path))
    own, file = origin_of(path)
    return Source(str(path), file, check("origin", origin or own), data)


def _refuse(path: Path) -> None:
    if ":" in path.name and not path.exists():
        raise Unsupported(f"{path}: MODULE:OBJECT is not supported by this release; register a Python file")
    raise InvalidInput(f"{path}: there is no such file or folder" if not path.exists() else f"{path}: this is no regular file")


def _check_size(name: str, data: bytes, largest: int) -> None:
    if len(data) > largest:
        raise InvalidInput(f"{name} has {len(data)} bytes: an artifact has at most {largest} (max_artifact)")


def _project(file: Path) -> str | None:
    try:
        with file.open("rb") as stream:
            name = tomllib.load(stream).get("project", {}).get("name")
    except (OSError, ValueError, AttributeError):
        return None
    return name if isinstance(name, str) and name else None


def _as_origin(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip("-._")[:128] or "unnamed"
