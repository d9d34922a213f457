"""Which version a registration means: unchanged, one that was there before, or a new one. Pure decisions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from taskq.registry.errors import Conflict
from taskq.registry.model.record import TaskRecord, content_of
from taskq.registry.model.spec import Spec


@dataclass(frozen=True)
class Wanted:
    """A task as a file declares it: what somebody wants to have registered."""

    task: str
    digest: str
    attribute: str
    file: str
    origin: str
    spec: Spec

    @cached_property
    def content(self) -> str:
        """Identity of what it does; see `VersionRecord.content`."""
        return content_of(self.digest, self.attribute, self.spec)


@dataclass(frozen=True, slots=True)
class Demands:
    """What a writer insists on.

    ``if_version``: the task's latest version, 0 for a task that is not there. ``if_revision``: the registry's revision.
    ``take_over``: a task of another origin may be taken. ``force``: content that was rolled back from may come again.
    """

    take_over: bool = False
    force: bool = False
    if_version: int | None = None
    if_revision: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done for one task: ``version`` is the one that it will run, and ``kind`` how that came about."""

    kind: Literal["unchanged", "again", "new"]
    version: int


def plan(wanted: Wanted, record: TaskRecord | None, same: int | None, demands: Demands, revision: int) -> Step:
    """Decide one task of a registration.

    Args:
        wanted: what is to be registered.
        record: the task as it is, None if it is not there.
        same: the version of the task that has the same content, None if there is none.
        demands: what the writer insists on.
        revision: the registry's.

    Raises:
        Conflict: a demand is not met, the task belongs to another origin, or the content was rolled back from.
    """
    check_demands(wanted.task, record, demands, revision)
    if record is None:
        return Step("new", 1)
    if record.origin != wanted.origin and not demands.take_over:
        raise Conflict(
            f"task {wanted.task} belongs to origin {record.origin}, not to {wanted.origin}",
            hint="give another name, or take it over with --take-over",
        )
    if same is None:
        return Step("new", record.latest + 1)
    if same in record.withdrawn and not demands.force:
        raise Conflict(
            f"task {wanted.task}: this is the content of version {same}, which was rolled back from",
            hint="change the code, or insist with --force",
        )
    settled = record.route.stable == same and record.origin == wanted.origin and record.state != "retired"
    return Step("unchanged" if settled else "again", same)


def check_demands(task: str, record: TaskRecord | None, demands: Demands, revision: int) -> None:
    """Raise `Conflict` unless the state is the demanded one; the message names both."""
    if demands.if_revision is not None and demands.if_revision != revision:
        raise Conflict(f"the registry is at revision {revision}, not at {demands.if_revision} as demanded")
    latest = record.latest if record else 0
    if demands.if_version is not None and demands.if_version != latest:
        raise Conflict(f"task {task} is at version {latest}, not at {demands.if_version} as demanded")


def in_progress(record: TaskRecord | None, at: float) -> bool:
    """Whether somebody is rolling this task out at ``at`` (seconds since the epoch, Redis' clock)."""
    return record is not None and record.route.staged_until is not None and record.route.staged_until > at
