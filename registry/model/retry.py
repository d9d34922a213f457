"""`RetryPolicy`: a `Retry` as the spec stores it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from taskq.registry.authoring.duration import seconds
from taskq.registry.authoring.retry import Retry
from taskq.registry.code.module import PREFIX
from taskq.registry.model.base import Stored

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_MAX_DELAY = 31_536_000
# More than a task could mean; names are compared one by one.
_MAX_NAMES = 100
# Reasons of a failure that no policy retries.
NEVER_RETRIED = frozenset(("lost", "poison", "invalid_parameters", "result_too_large", "result_not_serialisable", "refused", "cancelled"))


def names(value: Any) -> tuple[str, ...]:
    """Names of exceptions that were given as classes or names, one or several.

    A class of a task's own file goes by its bare name: its module has another name in each version.
    """
    given: list[Any] = list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
    if len(given) > _MAX_NAMES:
        raise ValueError(f"{len(given)} exceptions, allowed are {_MAX_NAMES}")
    return tuple(dict.fromkeys(map(_name, given)))


def _name(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, BaseException):
        if kind.__module__ == "builtins" or kind.__module__.startswith(PREFIX) or "<locals>" in kind.__qualname__:
            return kind.__name__
        return f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(kind, str) and _NAME.fullmatch(kind):
        return kind
    raise ValueError(f"{kind!r:.200} is no exception: give its class, or its name like 'ValueError' or 'requests.Timeout'")


def _whole(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number is needed")  # noqa: TRY004  # pydantic wants a ValueError
    return value


Delay = Annotated[float, BeforeValidator(seconds)]
Names = Annotated[tuple[str, ...], BeforeValidator(names)]


class RetryPolicy(Stored):
    """How often and how soon a failed run is tried again; see `Retry`. Delays are in seconds, exceptions are names."""

    max: Annotated[int, BeforeValidator(_whole)] = Field(0, ge=0, le=1000)
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    delay: Delay = Field(1.0, le=_MAX_DELAY)
    max_delay: Delay = Field(300.0, gt=0, le=_MAX_DELAY)
    jitter: float = Field(0.1, ge=0, le=1)
    on: Names = ()
    not_on: Names = ()


def policy(value: Any) -> Any:
    """What was written as ``retry=``: a `Retry`, or the stored form."""
    if isinstance(value, Retry):
        return value.options()
    if isinstance(value, Mapping | RetryPolicy):
        return value
    raise ValueError("write retry=Retry(max=…)")
