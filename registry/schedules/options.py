"""`schedule_fields`: what `@task` was given about schedules, as a spec stores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq.registry.authoring.duration import seconds
from taskq.registry.errors import InvalidInput
from taskq.registry.schedules.cron import normalised
from taskq.registry.schedules.moment import aware, is_naive, text_of
from taskq.registry.schedules.zone import zone

_SHORTEST: Final = 0.1
_LONGEST: Final = 366 * 86_400.0
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {"misfire": ("once", "skip", "all"), "overlap": ("allow", "skip")}


def schedule_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields ``every``, ``cron``, ``timezone``, ``at``, ``misfire`` and ``overlap`` of a spec, those that were given.

    Args:
        given: options of `@task`; others are passed over.

    Raises:
        InvalidInput: a value is not allowed; names field and value and says what is.
    """
    fields: dict[str, Any] = {}
    timezone = _timezone(given)
    if timezone is not None:
        fields["timezone"] = timezone
    if "every" in given:
        fields["every"] = _period(given["every"])
    if "cron" in given:
        fields["cron"] = normalised(given["cron"])
    if "at" in given:
        fields["at"] = _moment(given["at"], timezone)
    for field, choices in _CHOICES.items():
        if field in given:
            fields[field] = _choice(field, given[field], choices)
    return fields


def refuse_required(required: Sequence[str]) -> None:
    """Raise `InvalidInput` if a task that has a schedule needs parameters: the runs of a schedule pass none.

    Args:
        required: names of the parameters that have no default.
    """
    if required:
        names = ", ".join(required)
        raise InvalidInput(f"a run of its schedule passes no parameters, but {names} must be given: add a default, or no schedule")


def _timezone(given: Mapping[str, Any]) -> str | None:
    name = given.get("timezone")
    if name is None:
        return None
    if not isinstance(name, str):
        raise InvalidInput(f"timezone {name!r} is no text: allowed are IANA names, like 'Europe/Berlin'")
    if "cron" not in given and "at" not in given:
        raise InvalidInput(f"timezone {name!r} has no meaning without cron or at: leave it out")
    zone(name)
    if "cron" not in given and not _is_naive(given["at"]):
        raise InvalidInput(f"timezone {name!r} has no meaning for at={given['at']!r}, which has a zone of its own: leave one of them out")
    return name


def _period(value: object) -> float:
    try:
        period = seconds(value)
    except ValueError as error:
        raise InvalidInput(f"every: {error}") from None
    if not _SHORTEST <= period <= _LONGEST:
        raise InvalidInput(f"every {value!r} is not allowed: at least 0.1 s, at most 366 days")
    whole = round(period * 1000)
    if abs(period * 1000 - whole) > 1e-6 * whole:
        raise InvalidInput(f"every {value!r} is not allowed: it is no whole number of milliseconds")
    return whole / 1000


def _moment(value: object, timezone: str | None) -> str:
    try:
        return text_of(aware(value, timezone))
    except InvalidInput as error:
        raise InvalidInput(f"at: {error.message}") from None


def _is_naive(value: object) -> bool:
    try:
        return is_naive(value)
    except InvalidInput as error:
        raise InvalidInput(f"at: {error.message}") from None


def _choice(field: str, value: object, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise InvalidInput(f"{field} {value!r} is not allowed: allowed are {', '.join(map(repr, choices))}")
    return value
