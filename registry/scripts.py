"""Loads the Lua scripts of ``lua/`` and calls them.

Each file opens with a header that the loader checks::

    #!lua flags=allow-oom            only where a full Redis must still take it
    -- name.lua: what it does
    -- KEYS: …
    -- ARGV: …
    -- Returns: …
    -- Atomic because: …

A line ``--!include other.lua`` is replaced by that file (for functions that scripts share). Scripts are called by their
SHA; a server that does not know one is given it again. fakeredis knows no shebang: it is dropped there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

_HEADER = ("-- KEYS:", "-- ARGV:", "-- Returns:", "-- Atomic because:")
_INCLUDE = re.compile(r"^--!include (\w+\.lua)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script: its name, text and SHA-1; ``plain`` is the same without a shebang."""

    name: str
    text: str
    sha: str = field(init=False)
    plain: Script = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())
        plain = re.sub(r"\A#!.*\n", "", self.text)
        object.__setattr__(self, "plain", self if plain == self.text else Script(self.name, plain))

    def call(self, redis: Redis, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run it on a blocking client and return its reply."""
        script = self._for(redis)
        try:
            return redis.evalsha(script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return redis.eval(script.text, len(keys), *keys, *args)

    async def call_async(self, redis: AsyncRedis, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run it on an asyncio client and return its reply."""
        script = self._for(redis)
        try:
            return await redis.evalsha(script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await redis.eval(script.text, len(keys), *keys, *args)

    def _for(self, redis: object) -> Script:
        return self.plain if _is_fake(type(redis)) else self  # type: ignore[arg-type]  # mypy doubts that a class is hashable


@cache
def _is_fake(client: type) -> bool:
    return any(kind.__module__.startswith("fakeredis") for kind in client.__mro__)


@cache
def load(name: str) -> Script:
    """The script of file ``lua/<name>.lua``.

    Raises:
        ValueError: its header is not complete.
    """
    text = _read(f"{name}.lua")
    body = text.split("\n", 1)[1] if text.startswith("#!") else text
    if not body.startswith(f"-- {name}.lua:"):
        raise ValueError(f"{name}.lua must open with '-- {name}.lua: …'")
    missing = [line for line in _HEADER if f"\n{line}" not in text]
    if missing:
        raise ValueError(f"{name}.lua lacks in its header: {', '.join(missing)}")
    return Script(name, _INCLUDE.sub(lambda match: _read(match.group(1)), text))


def _read(file: str) -> str:
    return (resources.files(__package__) / "lua" / file).read_text(encoding="utf-8")
