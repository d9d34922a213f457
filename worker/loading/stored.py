"""A version as the registry holds it, and what an executor is told to load it."""

from __future__ import annotations

from typing import Any

from taskq.registry.code.artifact import read_artifact
from taskq.registry.effects import Command, Op
from taskq.registry.errors import NotFound
from taskq.registry.keys import Keys
from taskq.registry.model.record import VersionRecord
from taskq.worker.link.lanes import ALONE, Lane


def read_version(keys: Keys, task: str, version: int) -> Op[tuple[VersionRecord, bytes]]:
    """The record of a version and its source.

    Raises:
        NotFound: there is no such version, or its artifact is gone. TaskqError: what is stored has another digest.
        FormatUnknown: another release wrote the record.
    """
    blob = yield Command("HGET", keys.versions(task), str(version))
    if blob is None:
        raise NotFound(f"task {task} has no version {version}")
    record = VersionRecord.load(blob)
    source = yield from read_artifact(keys, record.digest)
    return record, source


def lane_of(record: VersionRecord, async_slots: int) -> Lane:
    """What the runs of a version may be in progress beside; those with limits of their own are alone."""
    spec = record.spec
    if spec.resources is not None:
        return ALONE
    return Lane.of(record.task, coroutine=spec.coroutine, threads=spec.threads, async_slots=async_slots)


def load_order(record: VersionRecord, source: bytes, lane: Lane = ALONE) -> dict[str, Any]:
    """The body of a version's LOAD."""
    parameters = record.spec.parameters
    return {
        "task": record.task,
        "version": record.version,
        "digest": record.digest,
        "attribute": record.attribute,
        "file": record.file,
        "source": source,
        "context": parameters.context,
        "convert": parameters.convert,
        "lane": lane.name,
        "slots": lane.slots,
        "queue": record.spec.queue,
        "timeout": record.spec.timeout,
    }
