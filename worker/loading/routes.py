"""Which version a claimed run gets, or what else becomes of it: pure."""

from __future__ import annotations

from taskq.registry.model.record import TaskRecord
from taskq.worker.runs.verdicts import Finish, Release, Verdict

PARK = Release("park")
PUT_BACK = Release("back")
RETIRED = Finish("canceled", "retired", "the task was retired")


def route(record: TaskRecord | None, pin: int | None) -> int | Verdict:
    """The version to run, or a verdict.

    Args:
        record: of the task; None if it is not in the registry, or is not readable by this release: put back.
        pin: version that the run was enqueued for.
    """
    if record is None:
        return PUT_BACK
    if record.state == "paused":
        return PARK
    if record.state == "retired":
        return RETIRED
    version = pin if pin is not None else record.route.stable
    return PUT_BACK if version is None else version


def routed_versions(record: TaskRecord | None) -> set[int]:
    """The versions that must be loaded ahead of their first use."""
    if record is None or record.state == "retired":
        return set()
    return {version for version in (record.route.stable, record.route.staged) if version is not None}
