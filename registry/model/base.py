"""The base of all stored models: frozen, closed, and with one way to bytes and back."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from taskq.registry import codec
from taskq.registry.errors import FormatUnknown


class Stored(BaseModel):
    """A model that is stored in Redis as a blob."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def dump(self) -> bytes:
        """This model as a blob; fields at their default are left out."""
        return codec.dumps(self.model_dump(mode="python", exclude_defaults=True))

    @classmethod
    def load(cls, blob: bytes) -> Self:
        """The model of a blob.

        Raises:
            FormatUnknown: it is of another format, or not what this model holds.
        """
        return cls.parse(codec.loads(blob))

    @classmethod
    def parse(cls, value: Any) -> Self:
        """The model of an already decoded mapping; raises `FormatUnknown` if it does not fit."""
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise FormatUnknown(f"stored {cls.__name__}: {error.errors(include_url=False)[0]['msg']}") from error
