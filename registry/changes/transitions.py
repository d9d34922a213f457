"""What each change makes of a task's record. Pure: from one record to the next.

::

    (none) ─stage─▶ staged ─switch─▶ active ─pause─▶ paused ─resume─▶ active
                      │                 └──retire──▶ retired ─stage─▶ … (numbers go on)
                      └─unstage─▶ as before
"""

from __future__ import annotations

from typing import Any

from taskq.registry.changes.plan import Wanted
from taskq.registry.model.record import Route, TaskRecord
from taskq.registry.model.spec import Spec


def _with(record: TaskRecord, **changes: Any) -> TaskRecord:
    return record.model_copy(update=changes)


def adopted(record: TaskRecord | None, wanted: Wanted, version: int) -> TaskRecord:
    """The record with the registration's origin, file and version number, nothing switched.

    A retired task starts over: active, with no stable version.
    """
    fresh = record is None or record.state == "retired"
    base = record or TaskRecord(task=wanted.task)
    return _with(
        base,
        state="active" if fresh else base.state,
        route=Route() if fresh else base.route,
        spec=wanted.spec if fresh or base.route.stable is None else base.spec,
        latest=max(base.latest, version),
        origin=wanted.origin,
        file=wanted.file,
    )


def staged(record: TaskRecord, version: int, until: float | None = None, by: str = "") -> TaskRecord:
    """Workers load ``version``; others wait for the rollout ``by`` until ``until`` (seconds since the epoch), None if nobody needs to."""
    return _with(record, route=Route(stable=record.route.stable, staged=version, staged_until=until, staged_by=by))


def switched(record: TaskRecord, version: int, spec: Spec, *, withdraw: bool = False) -> TaskRecord:
    """Runs get ``version`` from now on; ``withdraw`` marks the version that is left as rolled back from."""
    left = record.route.stable
    withdrawn = set(record.withdrawn) - {version}
    if withdraw and left is not None and left != version:
        withdrawn.add(left)
    return _with(record, route=Route(stable=version), spec=spec, withdrawn=tuple(sorted(withdrawn)))


def unstaged(record: TaskRecord, before: TaskRecord | None) -> TaskRecord:
    """Nothing is staged any more: the task is whose it was, and retired again if it had been before its staging.

    Args:
        record: the task as it is. ``before``: as it was when the version was staged.
    """
    if before is None:
        return _with(record, route=Route(stable=record.route.stable))
    owned = _with(record, origin=before.origin, file=before.file)
    if before.state == "retired" and record.route.stable is None:
        return _with(owned, state="retired", route=Route(stable=before.route.stable), spec=before.spec)
    return _with(owned, route=Route(stable=record.route.stable))


def paused(record: TaskRecord) -> TaskRecord:
    """Runs are accepted and wait."""
    return _with(record, state="paused")


def resumed(record: TaskRecord) -> TaskRecord:
    """Runs start again."""
    return _with(record, state="active")


def retired(record: TaskRecord) -> TaskRecord:
    """Runs are refused; a rollout in progress is off."""
    return _with(record, state="retired", route=Route(stable=record.route.stable))
