"""Registers files: inspects them, stores them, and rolls their tasks out as one release."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from taskq.registry.changes.commit import Decision, Reads, View, commit
from taskq.registry.changes.desk import Desk
from taskq.registry.changes.failures import Outcome, remember
from taskq.registry.changes.fleet import live_workers
from taskq.registry.changes.plan import Demands, Step, Wanted, plan
from taskq.registry.changes.rollout import Manner, Result, Target, roll_out
from taskq.registry.changes.transitions import adopted
from taskq.registry.code.artifact import digest_of, store_artifact
from taskq.registry.effects import Command, Op
from taskq.registry.errors import DistributionMissing, FormatUnknown, InspectionFailed, InvalidInput
from taskq.registry.inspection.found import FoundTask
from taskq.registry.inspection.local import inspect_file
from taskq.registry.inspection.remote import ask_worker
from taskq.registry.inspection.sources import Source
from taskq.registry.keys import Keys
from taskq.registry.model.record import TaskRecord, VersionRecord
from taskq.registry.runtime.faults import point

Where = Literal["auto", "local", "worker"]


class How(TypedDict, total=False):
    """The options of `Registry.register`, described there."""

    message: str
    take_over: bool
    force: bool
    if_version: int | None
    if_revision: int | None
    activate: bool
    stage_timeout: float | None
    max_unready: int
    inspect: Where
    dry_run: bool
    on_progress: Callable[[str], None] | None


@dataclass(frozen=True)
class Order:
    """How a registration is to be done."""

    demands: Demands
    manner: Manner
    inspect: Where = "auto"
    dry_run: bool = False

    @classmethod
    def of(cls, how: How, timeout: float) -> Order:
        """The order for these options; ``timeout`` is the stage timeout in seconds unless they name one."""
        given = how.get("stage_timeout")
        return cls(
            Demands(how.get("take_over", False), how.get("force", False), how.get("if_version"), how.get("if_revision")),
            Manner(
                "registered",
                timeout if given is None else given,
                how.get("message", ""),
                activate=how.get("activate", True),
                max_unready=how.get("max_unready", 0),
            ),
            how.get("inspect", "auto"),
            how.get("dry_run", False),
        )


def register(desk: Desk, sources: Sequence[Source], order: Order) -> list[dict[str, Any]]:
    """Register all tasks of ``sources`` as one release and return a document for each, in their order.

    Raises:
        InspectionFailed, DistributionMissing, InvalidInput, Unsupported: a file can't be used; nothing was changed.
        Conflict, RolloutFailed: see `roll_out`.
    """
    wanted: list[Wanted] = []
    for source in sources:
        desk.progress(f"inspecting {source.shown}")
        digest = digest_of(source.data)
        found = _inspected(desk, source, order.inspect)
        wanted += [Wanted(task.name, digest, task.attribute, source.file, source.origin, task.spec) for task in found]
    return release(desk, wanted, [source.data for source in sources], order)


def release(desk: Desk, wanted: Sequence[Wanted], artifacts: Sequence[bytes], order: Order) -> list[dict[str, Any]]:
    """Register tasks whose declarations are known, as one release; ``artifacts`` holds the code that they name by digest.

    Raises:
        InvalidInput: two of them have one name. Conflict, RolloutFailed: see `roll_out`.
    """
    _refuse_twins(wanted)
    if not order.dry_run:
        for data in artifacts:
            desk.perform(store_artifact(desk.keys, data))
        point("registry.stored")
    return _release(desk, wanted, order)


def _refuse_twins(wanted: Sequence[Wanted]) -> None:
    seen: dict[str, str] = {}
    for item in wanted:
        if item.task in seen:
            raise InvalidInput(f"task {item.task} is declared twice: in {seen[item.task]} and in {item.file}")
        seen[item.task] = item.file


# -- the release -------------------------------------------------------------------------------------------
def _release(desk: Desk, wanted: Sequence[Wanted], order: Order) -> list[dict[str, Any]]:
    steps: dict[str, Step] = {}
    seen: dict[str, TaskRecord] = {}

    def choose(view: View) -> list[Target]:
        steps.clear()
        seen.clear()
        seen.update(view.records)
        for item in wanted:
            steps[item.task] = plan(item, view.records.get(item.task), view.same.get(item.task), order.demands, view.revision)
        return [
            _target(desk, item, steps[item.task].version, view, order)
            for item in wanted
            if steps[item.task].kind != "unchanged" and not _only_staged(item, steps[item.task], view, order)
        ]

    reads = Reads(
        tasks=[item.task for item in wanted],
        contents={item.task: item.content for item in wanted},
        digests=[] if order.dry_run else list(dict.fromkeys(item.digest for item in wanted)),
    )
    if order.dry_run:
        return _dry(desk, reads, choose, wanted, steps)
    result = roll_out(desk, reads, choose, order.manner)
    return [_document(item, steps[item.task], result, seen, order) for item in wanted]


def _only_staged(item: Wanted, step: Step, view: View, order: Order) -> bool:
    """Whether it stands on the stage already and shall stay there."""
    record = view.records.get(item.task)
    return record is not None and not order.manner.activate and step.kind == "again" and record.route.staged == step.version


def _target(desk: Desk, item: Wanted, version: int, view: View, order: Order) -> Target:
    before = view.records.get(item.task)
    record = VersionRecord(
        task=item.task,
        version=version,
        digest=item.digest,
        attribute=item.attribute,
        file=item.file,
        spec=item.spec,
        origin=item.origin,
        author=desk.who,
        message=order.manner.message,
    )
    return Target(before, adopted(before, item, version), record, new=item.task not in view.same)


def _document(item: Wanted, step: Step, result: Result, seen: dict[str, TaskRecord], order: Order) -> dict[str, Any]:
    record = result.records.get(item.task)
    if record is None:
        old = seen.get(item.task)
        return _row(item, step.version, old.revision if old else result.revision, "unchanged")
    state = record.state if order.manner.activate else "staged"
    return _row(item, step.version, result.revision, state)


def _row(item: Wanted, version: int, revision: int, state: str) -> dict[str, Any]:
    return {"task": item.task, "version": version, "digest": item.digest, "revision": revision, "state": state}


def _dry(desk: Desk, reads: Reads, choose: Any, wanted: Sequence[Wanted], steps: dict[str, Step]) -> list[dict[str, Any]]:
    """The same decision on the same reads, and nothing written."""

    def decide(view: View) -> Decision:
        choose(view)
        return Decision("registered")

    revision = commit(desk, reads, decide).revision
    return [
        _row(item, steps[item.task].version, revision, "unchanged" if steps[item.task].kind == "unchanged" else "active") for item in wanted
    ]


# -- inspection --------------------------------------------------------------------------------------------
def _inspected(desk: Desk, source: Source, where: Where) -> list[FoundTask]:
    try:
        if where == "worker":
            return _by_worker(desk, source)
        try:
            return inspect_file(source.shown, source.data, timeout=desk.settings.load_timeout, settings=desk.settings)
        except DistributionMissing:
            if where == "local" or not desk.perform(live_workers(desk.keys, desk.settings)):
                raise
            desk.progress(f"a worker inspects {source.shown}")
            return _by_worker(desk, source)
    except InspectionFailed as error:
        desk.perform(_remember_failure(desk.keys, source, error.message))
        raise


def _by_worker(desk: Desk, source: Source) -> list[FoundTask]:
    # The worker starts a process for it and imports under load_timeout; the rest is for its turn to come.
    return desk.perform(ask_worker(desk.keys, source.data, source.shown, desk.settings.load_timeout * 2 + 10))


def _remember_failure(keys: Keys, source: Source, error: str) -> Op[None]:
    """Note it at each task that was last registered from this file, so that its rollout shows it."""
    seconds, micros = yield Command("TIME")
    outcomes = {}
    for blob in (yield Command("HVALS", keys.registry)):
        try:
            record = TaskRecord.load(blob)
        except FormatUnknown:
            continue
        if record.origin == source.origin and record.file == source.file:
            outcomes[record.task] = Outcome(
                at=int(seconds) + int(micros) / 1e6,
                version=None,
                revision=record.revision,
                state="failed",
                seconds=None,
                errors=[{"worker": "inspection", "error": error}],
            )
    yield from remember(keys, outcomes)
