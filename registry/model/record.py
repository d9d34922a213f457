"""`VersionRecord`, `Route` and `TaskRecord`: what the registry holds of a task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, Literal

from pydantic import Field

from taskq.registry import codec
from taskq.registry.errors import FormatUnknown
from taskq.registry.model.base import Stored
from taskq.registry.model.spec import Spec


class VersionRecord(Stored):
    """One immutable version: code and spec of a task.

    ``digest`` is the SHA-256 (hex) of the artifact, ``attribute`` the name in the module that is the task, ``file`` the
    name of the file that it was registered from, ``created_at`` seconds since the epoch by Redis' clock.
    """

    task: str
    version: int = Field(ge=1)
    digest: str
    artifact: Literal["source"] = "source"
    attribute: str
    file: str = ""
    spec: Spec = Field(default_factory=Spec)
    origin: str = ""
    author: str = ""
    message: str = ""
    created_at: float = 0.0

    @property
    def content(self) -> str:
        """Identity of what this version does: artifact, attribute and spec; equal content is never a new version."""
        return content_of(self.digest, self.attribute, self.spec)


# Fields of the first release: they are part of a content whatever they say, later ones only where they say something.
_FIRST_SPEC: Final = frozenset("queue labels timeout grace on_lost result_ttl failure_ttl idempotent doc".split())
_FIRST_PARAMETERS: Final = frozenset({"json_schema", "context", "convert"})


def content_of(digest: str, attribute: str, spec: Spec) -> str:
    """SHA-256 (hex) over artifact digest, attribute and spec.

    It is stored, so it may never change: neither what was registered nor what was rolled back from would be known again.
    """
    said = _said(spec, _FIRST_SPEC) | {"parameters": _said(spec.parameters, _FIRST_PARAMETERS)}
    return hashlib.sha256(digest.encode() + b"\0" + attribute.encode() + b"\0" + codec.dumps(_sorted(said))).hexdigest()


def _said(model: Stored, first: frozenset[str]) -> dict[str, object]:
    return model.model_dump(exclude_defaults=True) | model.model_dump(include=set(first))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value


class Route(Stored):
    """Which version a task's runs get.

    ``stable`` is None until a first version was switched to. ``staged`` is loaded by the workers ahead of a switch; until
    ``staged_until`` (seconds since the epoch, Redis' clock) a rollout is in progress that others wait for, None for none;
    ``staged_by`` is who does it, for as long as `keys.registrar` of it is there.
    """

    stable: int | None = None
    staged: int | None = None
    staged_until: float | None = None
    staged_by: str = ""


class TaskRecord(Stored):
    """A task as the registry hash holds it.

    ``latest`` is the highest version ever given; ``revision`` that of the last change; ``spec`` that of the stable version
    (of the staged one while there is no stable); ``withdrawn`` the versions that were rolled back *from*;
    ``file`` where it was last registered from; ``changed_at`` when the last change was made, in seconds by Redis' clock.
    """

    task: str
    state: Literal["active", "paused", "retired"] = "active"
    route: Route = Field(default_factory=Route)
    latest: int = 0
    origin: str = ""
    revision: int = 0
    changed_at: float = 0.0
    spec: Spec = Field(default_factory=Spec)
    withdrawn: tuple[int, ...] = ()
    file: str = ""


def readable_records(blobs: Iterable[bytes]) -> list[TaskRecord]:
    """The records of tasks that are not retired; one that another release wrote is left out: what it says can't be read."""
    records = []
    for blob in blobs:
        try:
            record = TaskRecord.load(blob)
        except FormatUnknown:
            continue
        if record.state != "retired":
            records.append(record)
    return records
