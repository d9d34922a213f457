"""`Spec`: the declared metadata of a version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from taskq.registry.authoring.duration import seconds
from taskq.registry.code.plain import shown
from taskq.registry.errors import InvalidInput, Unsupported
from taskq.registry.model.base import Stored
from taskq.registry.model.resources import Resources
from taskq.registry.model.retry import NEVER_RETRIED, RetryPolicy, policy
from taskq.registry.names import check
from taskq.registry.schedules.options import refuse_required, schedule_fields
from taskq.registry.schedules.schedule import schedules_of

Seconds = Annotated[float, BeforeValidator(seconds)]

# Known fields that no part of this release acts on; each with the values that mean "not asked for".
NOT_BUILT: Mapping[str, tuple[Any, ...]] = {
    "on": (None, (), []),
    "concurrency": (None,),
    "rate": (None,),
    "on_update": ("drain",),
    "drain_timeout": (None,),
    "isolation": ("shared",),
    "requires": (None, (), []),
    "needs": (None, (), []),
    "secrets": (None, (), []),
}


class Parameters(Stored):
    """What a task takes.

    ``json_schema`` describes the parameters as one JSON object (JSON Schema 2020-12). ``context`` is the name of the
    parameter that receives the `TaskContext`, or None. ``convert`` says that an annotation is no plain JSON type, so that
    the executor builds the values with pydantic before it calls.
    """

    json_schema: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    context: str | None = None
    convert: bool = False


class Spec(Stored):
    """The declared metadata of a version; each field is an option of `@task`, or follows from the code.

    ``every`` is in seconds, whole milliseconds; ``cron`` has single blanks; ``timezone`` is that of ``cron`` and of an ``at`` that was
    written without one; ``at`` is ISO 8601 with an offset. What they mean is `taskq.registry.schedules`' to say, and they are checked
    there when a file is inspected, not when a spec is read: zones that one machine knows another may not.
    ``resources`` that limit nothing are None. ``threads`` is how many runs an executor has on threads at once, None for a run by itself;
    ``coroutine`` says that the body is ``async def``, so that its runs share an executor's loop.
    """

    queue: str = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    timeout: Seconds = Field(300.0, gt=0, le=31_536_000)
    grace: Seconds = Field(5.0, le=3600)
    retry: Annotated[RetryPolicy, BeforeValidator(policy)] = Field(default_factory=RetryPolicy)
    on_lost: Literal["retry", "fail"] = "retry"
    result_ttl: Seconds = Field(3600.0, le=315_360_000)
    failure_ttl: Seconds = Field(604_800.0, gt=0, le=315_360_000)
    idempotent: bool = False
    resources: Resources | None = None
    threads: Annotated[int, Field(strict=True, ge=1, le=64)] | None = None
    coroutine: bool = False
    every: float | None = None
    cron: str | None = None
    timezone: str = "UTC"
    at: str | None = None
    misfire: Literal["once", "skip", "all"] = "once"
    overlap: Literal["allow", "skip"] = "allow"
    parameters: Parameters = Field(default_factory=Parameters)
    doc: str = ""

    @field_validator("queue")
    @classmethod
    def _queue(cls, value: str) -> str:
        return check("queue", value)

    @field_validator("resources")
    @classmethod
    def _resources(cls, value: Resources | None) -> Resources | None:
        return value if value is not None and value.wanted else None

    @classmethod
    def from_options(cls, task: str, options: Mapping[str, Any], **derived: Any) -> Spec:
        """The spec for options as they were written in `@task`.

        Args:
            task: for the messages.
            options: of `@task` or of a class's ``metadata()``.
            derived: fields that follow from the code: ``parameters``, ``coroutine``, ``doc``.

        Raises:
            Unsupported: a field that is not built yet was asked for.
            InvalidInput: a value is not allowed; names task, field and value.
        """
        given = {name: value for name, value in options.items() if name != "name" and value is not None}
        _refuse_unbuilt(task, given)
        values = {name: value for name, value in given.items() if name not in NOT_BUILT}
        try:
            spec = cls.model_validate(values | schedule_fields(given) | derived)
            if schedules_of(spec):
                refuse_required(spec.parameters.json_schema.get("required", ()))
            _refuse_threads(spec)
            _refuse_retry(spec.retry, given.get("retry"))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(
                f"task {task}: {field}: {first['msg'].removeprefix('Value error, ')} (given: {shown(first['input'])})"
            ) from None
        except InvalidInput as error:
            raise InvalidInput(f"task {task}: {error.message}") from None
        return spec


def _refuse_retry(policy: RetryPolicy, given: object) -> None:
    """What would be ignored: of what is written now that is a mistake, of what was stored it may be of another release."""
    if isinstance(given, Mapping) and (unknown := sorted(map(str, set(given) - set(RetryPolicy.model_fields)))):
        raise InvalidInput(
            f"retry: there is no {', '.join(map(repr, unknown))}; write retry=Retry(…) of {', '.join(RetryPolicy.model_fields)}"
        )
    if policy.max and policy.delay > policy.max_delay:
        raise InvalidInput(f"retry.delay: {policy.delay:g} s is more than max_delay, which is {policy.max_delay:g} s: raise that as well")
    never = [name for name in policy.on if name in NEVER_RETRIED]
    if never:
        raise InvalidInput(f"retry.on: {', '.join(never)} is never retried; of the reasons error, timeout, oom and killed may be")


def _refuse_threads(spec: Spec) -> None:
    if spec.threads is None:
        return
    if spec.coroutine:
        raise InvalidInput(f"threads={spec.threads}: an async def task needs none, its runs share a loop; leave it out")
    if spec.resources is not None:
        raise InvalidInput(f"threads={spec.threads}: a run with resources is alone in its executor; leave out one of them")


def _refuse_unbuilt(task: str, given: Mapping[str, Any]) -> None:
    for field, idle in NOT_BUILT.items():
        if field in given and given[field] not in idle:
            raise Unsupported(f"task {task}: {field}={given[field]!r} is not supported by this release; leave it out")
