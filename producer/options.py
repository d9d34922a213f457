"""How a run is enqueued: the options of one call, checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, TypedDict

from taskq.producer.due import Moment, due
from taskq.registry.authoring.duration import Duration, seconds
from taskq.registry.errors import InvalidInput

_LONGEST: Final = 31_536_000.0


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options.

    ``once`` is the digest of the idempotency key, ``version`` a version that was asked for, ``pin`` whether the stable
    version of the moment is kept, ``timeout`` the caller's in seconds; each None (False) where not asked for. ``due`` is
    when runs may start, as `taskq.producer.due.due` gives it: ``""`` for now.
    """

    once: str | None = None
    version: int | None = None
    pin: bool = False
    timeout: float | None = None
    due: str = ""


class Given(TypedDict, total=False):
    """Options as a caller gives them, each absent or None where not asked for.

    ``at``: run at this time, an aware datetime or ISO 8601 text with a zone (``"2026-12-01T09:00:00+01:00"``); a time in
    the past means now. ``in_``: run after this time, in seconds, as text (``"90s"``, ``"1h30m"``) or a timedelta, counted
    by Redis' clock from each enqueue. A run that is due later is ``scheduled`` until a scheduler (`taskq scheduler`, or
    `taskq up`) puts it on its queue. ``key``: an idempotency key; within a day (``settings.idempotency_ttl``), counted
    from when the run is due, one key gives one run of a task, even if that was cancelled. ``version``: run on this
    version instead of the routed one. ``pin``: keep to the version that is stable now, even if the run starts after a
    switch. ``timeout``: how long the run may take, instead of what the task says.
    """

    at: Moment | None
    in_: Duration | None
    key: str | None
    version: int | None
    pin: bool
    timeout: Duration | None


def checked(given: Given) -> Options:
    """Options as a caller gives them, checked.

    Raises:
        TypeError: there is no such option.
        InvalidInput: a value is not allowed; names the option and the value.
    """
    unknown = sorted(set(given) - set(Given.__annotations__))
    if unknown:
        raise TypeError(f"there is no option {', '.join(unknown)}; there are {', '.join(Given.__annotations__)}")
    version = given.get("version")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 1):
        raise InvalidInput(f"version={version!r} must be a whole number from 1")
    pin = bool(given.get("pin", False))
    when = due(given.get("at"), given.get("in_"))
    return Options(once=_digest(given.get("key")), version=version, pin=pin, timeout=_timeout(given.get("timeout")), due=when)


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
