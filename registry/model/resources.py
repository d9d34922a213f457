"""`Resources`: how much of a machine one run may use."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from taskq.registry.authoring.size import octets, written
from taskq.registry.model.base import Stored

_LEAST_MEMORY = 2**20
_LEAST_CPU = 0.01


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004  # what pydantic turns into its own error
    return value


class Resources(Stored):
    """The limits of one run; None is no limit. What counts and who holds a run to them is told in `taskq.worker.resources`.

    ``memory`` is in bytes, ``pids`` counts processes and threads, ``cpu`` is in cores and may be more than one.

    A limit that this release does not know makes the spec unreadable: to ignore it would be to run without it.
    """

    memory: Annotated[int, BeforeValidator(octets)] | None = Field(None, le=2**60)
    pids: Annotated[int, BeforeValidator(_whole)] | None = Field(None, ge=1, le=4_194_304)
    cpu: Annotated[float, BeforeValidator(_whole)] | None = Field(None, ge=_LEAST_CPU, le=4096)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, dict) and (unknown := sorted(map(str, set(value) - set(cls.model_fields)))):
            raise ValueError(f"there is no resource {', '.join(map(repr, unknown))}; allowed are {', '.join(cls.model_fields)}")
        return value

    @field_validator("memory")
    @classmethod
    def _memory(cls, value: int | None) -> int | None:
        if value is not None and value < _LEAST_MEMORY:
            raise ValueError(f"{value} bytes are too little for any run: at least 1M, and text such as '256M' for mebibytes")
        return value

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the resources that are limited."""
        return tuple(name for name in Resources.model_fields if getattr(self, name) is not None)

    def __str__(self) -> str:
        said = {"memory": self.memory and written(self.memory), "pids": self.pids, "cpu": self.cpu and f"{self.cpu:g}"}
        return ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)
