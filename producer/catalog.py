"""What a client knows of the tasks that it has used, and the revision at which it read that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from taskq.registry.code.validation import Validator
from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import NotFound, TaskRetired
from taskq.registry.keys import Keys
from taskq.registry.model.record import TaskRecord, VersionRecord
from taskq.registry.model.spec import Spec
from taskq.registry.runs.creation import encode


@dataclass(frozen=True, slots=True)
class Target:
    """One version of a task as runs are made for it.

    ``revision`` is the registry's at which this was true; ``sources`` the stored records that it was made from.
    """

    task: str
    version: int
    spec: Spec
    validator: Validator
    revision: str
    sources: tuple[bytes | None, ...]

    def encode(self, params: Mapping[str, Any], max_params: int) -> bytes:
        """Validated parameters as a run's data; raises `InvalidInput` if they don't fit the version's signature."""
        return encode(self.task, self.validator.check(params), max_params)


class Catalog:
    """A cache of targets by task and demanded version (None for the stable one). Threads may share it."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._targets: dict[tuple[str, int | None], Target] = {}

    def known(self, task: str, version: int | None) -> Target | None:
        """The target as it was when it was read, or None."""
        return self._targets.get((task, version))

    def read(self, task: str, version: int | None) -> Op[Target]:
        """The target as the registry has it now; kept for `known`.

        Raises:
            NotFound: no such task or version, or the task has no version that was switched to yet.
            TaskRetired: the task accepts no runs.
            FormatUnknown: its record was written by another release.
        """
        # Forgotten first: what is refused below must not be served from the cache afterwards.
        earlier = self._targets.pop((task, version), None)
        commands = [Command("GET", self._keys.revision), Command("HGET", self._keys.registry, task)]
        if version is not None:
            commands.append(Command("HGET", self._keys.versions(task), version))
        revision, *sources = yield Pipeline(commands, atomic=True)
        found = (revision or b"0").decode()
        if earlier is not None and earlier.sources == tuple(sources):
            target = replace(earlier, revision=found)
        else:
            number, spec = _version(task, version, *sources)
            target = Target(task, number, spec, Validator(spec.parameters), found, tuple(sources))
        self._targets[task, version] = target
        return target


def _version(task: str, version: int | None, record: bytes | None, stored: bytes | None = None) -> tuple[int, Spec]:
    if record is None:
        raise NotFound(f"there is no task {task}", hint="see `taskq list`, or register it with `taskq register FILE`")
    known = TaskRecord.load(record)
    if known.state == "retired":
        raise TaskRetired(f"task {task} was retired and accepts no runs", hint="register it again to bring it back")
    if version is not None:
        if stored is None:
            raise NotFound(f"task {task} has no version {version}", hint=f"see `taskq history {task}`")
        return version, VersionRecord.load(stored).spec
    if known.route.stable is None:
        raise NotFound(f"task {task} has no active version yet", hint=f"see `taskq rollout {task}`, or `taskq promote {task} VERSION`")
    return known.route.stable, known.spec
