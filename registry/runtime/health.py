"""A process's health as a file: there while it is ready, and rewritten as long as it is alive. Nothing but the standard library.

Written whole by a rename, so that a reader never sees half of it. Its age is measured on the machine's monotonic clock, which all
processes of a machine share: a wall clock that is set does not make a worker well or ill.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Final

from taskq.registry import clock

MAX_AGE: Final = 15.0
"""Seconds after which a file that was not rewritten counts as a dead process's."""


class HealthFile:
    """The file of one process.

    Args:
        path: where; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._draft = path.with_name(f".{path.name}.{os.getpid()}")

    def write(self, **fields: Any) -> None:
        """The process is ready, and well at this moment; ``fields`` are for people.

        Raises:
            OSError: the file can't be written.
        """
        document = {**fields, "pid": os.getpid(), "time": clock.iso(clock.now()), "monotonic": clock.monotonic()}
        try:
            self._draft.write_text(json.dumps(document) + "\n")
            self._draft.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                self._draft.unlink()
            raise

    def remove(self) -> None:
        """It is not ready any more; a file that is not there is fine.

        Raises:
            OSError: the file can't be removed.
        """
        self.path.unlink(missing_ok=True)


def ailment(path: Path, max_age: float = MAX_AGE) -> str | None:
    """What is wrong with the process that writes ``path``, in words; None if it is ready.

    Args:
        max_age: of the file in seconds.
    """
    try:
        age = clock.monotonic() - float(json.loads(path.read_text())["monotonic"])
    except FileNotFoundError:
        return f"{path} is not there: it is not ready"
    except (OSError, ValueError, TypeError, KeyError) as error:
        return f"{path} can't be read: {error}"
    if age < 0:
        return f"{path} is from before the machine was started"
    if age > max_age:
        return f"{path} is {age:.1f} s old, more than {max_age:g} s: it hangs, or Redis is away"
    return None
