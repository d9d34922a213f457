"""Keeps the credential of Redis out of this process's arguments, which every user of the machine can read."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

_OPTION = "--redis"
_VARIABLE = "TASKQ_REDIS_URL"


def hide_credential() -> None:
    """Start this command again with a ``--redis`` URL that holds a password moved into the environment.

    Returns where there is nothing to hide; otherwise the process is replaced and this does not return.
    """
    given = sys.argv[1:]
    kept, url = take_url(given)
    if url is None or not has_password(url):
        return
    head = sys.orig_argv[: len(sys.orig_argv) - len(given)]
    os.execve(sys.executable, [*head, *kept], os.environ | {_VARIABLE: url})  # noqa: S606  # the same program again


def take_url(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """The arguments without ``--redis``, and its value (the last one, as click would take it); None if it is not there."""
    kept: list[str] = []
    url: str | None = None
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            kept.extend([argument, *rest])
        elif argument == _OPTION:
            url = next(rest, None)
        elif argument.startswith(f"{_OPTION}="):
            url = argument.partition("=")[2]
        else:
            kept.append(argument)
    return kept, url


def has_password(url: str) -> bool:
    """Whether the URL carries a password, before the host or as ``?password=``."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    return bool(parts.password) or "password" in parse_qs(parts.query)
