"""The peers' virtual environments: one a library, since arq, saq and the others want different releases of redis-py.

They are made when they are first asked for, by ``pip`` from whatever index it is configured for, and made anew when the list of
requirements has changed. Their folder keeps itself out of git.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.errors import BenchError
from benchmarks.processes import clean_environment

FOLDER = Path(__file__).resolve().parents[3] / ".bench"
_REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
_STAMP = "taskq-bench-stamp"
_WITHIN = 900


def python(folder: Path, library: str) -> Path:
    """The interpreter of a library's environment."""
    return folder / library / "bin/python"


def ready(folder: Path, library: str) -> bool:
    """Whether it is there, and has what is wanted now."""
    stamp = folder / library / _STAMP
    return python(folder, library).exists() and stamp.exists() and stamp.read_text() == _wanted(library)


def make(folder: Path, library: str) -> None:
    """Make it, unless it is `ready`.

    Raises:
        BenchError: it can't be made; the message says what pip said, and how to go without.
    """
    if ready(folder, library):
        return
    place = folder / library
    shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    _step(library, [sys.executable, "-m", "venv", place])
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    _step(library, [python(folder, library), "-m", "pip", "install", *quiet, "--requirement", _REQUIREMENTS / f"{library}.txt"])
    (place / _STAMP).write_text(_wanted(library))


def versions(folder: Path, library: str, names: Sequence[str]) -> dict[str, str]:
    """Of distributions in a library's environment, as ``celery: redis`` for what is not the library itself."""
    site = [str(path) for path in (folder / library).glob("lib/python*/site-packages")]
    found = {distribution.metadata["Name"].lower(): distribution.version for distribution in distributions(path=site)}
    return {name if name == names[0] else f"{library}: {name}": found[name] for name in names if name in found}


def _wanted(library: str) -> str:
    text = (_REQUIREMENTS / f"{library}.txt").read_bytes()
    return f"{hashlib.sha256(text).hexdigest()} {sys.version_info.major}.{sys.version_info.minor}\n"


def _step(library: str, argv: Sequence[str | Path]) -> None:
    try:
        done = subprocess.run(argv, env=clean_environment(), check=False, capture_output=True, text=True, timeout=_WITHIN)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(_why(library, str(error))) from error
    if done.returncode:
        raise BenchError(_why(library, "\n".join(done.stderr.strip().splitlines()[-5:])))


def _why(library: str, text: str) -> str:
    return (
        f"the virtual environment of {library} can't be made from requirements/{library}.txt:\n{text}\n"
        "`--peers taskq,rq,simple` measures what needs none"
    )
