"""The one grammar of names: what may become part of a key, a path or a module name.

A name that does not match is refused before it reaches Redis or the file system.
"""

from __future__ import annotations

import re

from taskq.registry.errors import InvalidInput

TASK = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}\Z", re.ASCII)
QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z", re.ASCII)
NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z", re.ASCII)
ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z", re.ASCII)
WORKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z", re.ASCII)
RUN = re.compile(r"[A-Za-z0-9_-]{1,128}\Z", re.ASCII)

_ALLOWED = {
    "task": (TASK, "1 to 128 of a-z 0-9 _ . -, starting with a letter or digit"),
    "queue": (QUEUE, "1 to 64 of A-Z a-z 0-9 _ . -, starting with a letter or digit"),
    "namespace": (NAMESPACE, "1 to 64 of a-z 0-9 _ -, starting with a letter or digit"),
    "origin": (ORIGIN, "1 to 128 of A-Z a-z 0-9 _ . -, starting with a letter or digit"),
    "worker": (WORKER, "1 to 128 of A-Z a-z 0-9 _ . -, starting with a letter or digit"),
    "scheduler": (WORKER, "1 to 128 of A-Z a-z 0-9 _ . -, starting with a letter or digit"),
    "run": (RUN, "1 to 128 of A-Z a-z 0-9 _ -"),
}


def check(kind: str, value: object) -> str:
    """Return ``value`` if it is a valid name of that kind (``task``, ``queue``, ``worker`` …: a key of the table above).

    Raises:
        InvalidInput: it is not; the message names kind, value and what is allowed.
    """
    pattern, allowed = _ALLOWED[kind]
    if not isinstance(value, str) or not pattern.match(value):
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        raise InvalidInput(f"{kind} {shown} is not a valid name: allowed are {allowed}")
    return value


def snake_case(name: str) -> str:
    """``ImportData`` → ``import_data``; used for the default name of a class-form task."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return words.lower()
