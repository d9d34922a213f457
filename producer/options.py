"""How a run is enqueued: the options of one call, checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict

from taskq.registry.authoring.duration import Duration, seconds
from taskq.registry.errors import InvalidInput, Unsupported

_LONGEST: Final = 31_536_000.0


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options.

    ``once`` is the digest of the idempotency key, ``version`` a version that was asked for, ``pin`` whether the stable
    version of the moment is kept, ``timeout`` the caller's in seconds; each None (False) where not asked for.
    """

    once: str | None = None
    version: int | None = None
    pin: bool = False
    timeout: float | None = None


class Given(TypedDict, total=False):
    """Options as a caller gives them, each absent or None where not asked for.

    ``at``, ``in_``: run at a later time (not supported yet). ``key``: an idempotency key; within a day
    (``settings.idempotency_ttl``) one key gives one run of a task. ``version``: run on this version instead of the routed
    one. ``pin``: keep to the version that is stable now, even if the run starts after a switch. ``timeout``: how long
    the run may take, instead of what the task says.
    """

    at: Any
    in_: Any
    key: str | None
    version: int | None
    pin: bool
    timeout: Duration | None


def checked(given: Given) -> Options:
    """Options as a caller gives them, checked.

    Raises:
        TypeError: there is no such option.
        Unsupported: ``at`` or ``in_`` was given.
        InvalidInput: a value is not allowed; names the option and the value.
    """
    unknown = sorted(set(given) - set(Given.__annotations__))
    if unknown:
        raise TypeError(f"there is no option {', '.join(unknown)}; there are {', '.join(Given.__annotations__)}")
    later: tuple[Literal["at", "in_"], ...] = ("at", "in_")
    for name in later:
        if given.get(name) is not None:
            raise Unsupported(f"{name}={given[name]!r}: runs at a later time are not supported by this release")
    version = given.get("version")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 1):
        raise InvalidInput(f"version={version!r} must be a whole number from 1")
    pin = bool(given.get("pin", False))
    return Options(once=_digest(given.get("key")), version=version, pin=pin, timeout=_timeout(given.get("timeout")))


def refuse_key(options: Options) -> None:
    """Refuse an idempotency key where several runs are made; raises `InvalidInput`."""
    if options.once is not None:
        raise InvalidInput("key: an idempotency key stands for one run, and can't be used with enqueue_many")


def _digest(key: str | None) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not key:
        raise InvalidInput(f"key={key!r} must be text that is not empty")
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _timeout(value: Duration | None) -> float | None:
    if value is None:
        return None
    try:
        timeout = seconds(value)
    except ValueError as error:
        raise InvalidInput(f"timeout: {error}") from None
    if not 0 < timeout <= _LONGEST:
        raise InvalidInput(f"timeout={value!r} must be more than 0 and at most {_LONGEST:.0f} s")
    return timeout
