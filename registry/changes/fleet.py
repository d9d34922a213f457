"""What the workers say of themselves: which are alive, and what they have loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import FormatUnknown
from taskq.registry.keys import Keys
from taskq.registry.model.worker import LOAD_PREFIX, STATUS_FIELD, LoadReport, WorkerReport, load_field
from taskq.registry.settings import Settings

Pair = tuple[str, int]


def known_workers(keys: Keys) -> Op[list[tuple[str, float]]]:
    """Name and age of the last heartbeat in seconds, by Redis' clock, of each worker that is not forgotten yet."""
    seconds, micros = yield Command("TIME")
    names = yield Command("ZRANGE", keys.workers, 0, -1)
    scores = (yield Command("ZMSCORE", keys.workers, *names)) if names else []
    now = int(seconds) + int(micros) / 1e6
    return [(name.decode(), now - float(score)) for name, score in zip(names, scores, strict=True) if score is not None]


def live_workers(keys: Keys, settings: Settings) -> Op[list[WorkerReport]]:
    """Reports of the workers whose heartbeat is younger than ``worker_ttl`` and that are not draining.

    One whose report another release wrote is left out: what it says can't be read.
    """
    reports = yield from beating_workers(keys, settings)
    return [report for report in reports if report.state != "draining"]


def beating_workers(keys: Keys, settings: Settings) -> Op[list[WorkerReport]]:
    """As `live_workers`, with those that are draining."""
    known = yield from known_workers(keys)
    names = [name for name, age in known if age < settings.worker_ttl]
    blobs = yield Pipeline([Command("HGET", keys.worker(name), STATUS_FIELD) for name in names])
    reports = [_report(blob) for blob in blobs]
    return [report for report in reports if report is not None]


def load_reports(keys: Keys, workers: Iterable[str], pairs: Sequence[Pair]) -> Op[dict[str, dict[Pair, LoadReport]]]:
    """What each of ``workers`` reports of each (task, version) of ``pairs``; what it does not speak of is left out."""
    names = list(workers)
    if not names or not pairs:
        return {name: {} for name in names}
    fields = [load_field(*pair) for pair in pairs]
    replies = yield Pipeline([Command("HMGET", keys.worker(name), *fields) for name in names])
    found: dict[str, dict[Pair, LoadReport]] = {}
    for name, blobs in zip(names, replies, strict=True):
        reports = {pair: _load(blob) for pair, blob in zip(pairs, blobs, strict=True)}
        found[name] = {pair: report for pair, report in reports.items() if report is not None}
    return found


def read_worker(keys: Keys, worker: str) -> Op[tuple[WorkerReport | None, list[LoadReport]]]:
    """A worker's report and all of its load reports; None if it has none that can be read."""
    reply = yield Command("HGETALL", keys.worker(worker))
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    fields = {bytes(name).decode(): value for name, value in pairs}
    loads = [_load(value) for name, value in fields.items() if name.startswith(LOAD_PREFIX)]
    return _report(fields.get(STATUS_FIELD)), [load for load in loads if load is not None]


def _report(blob: bytes | None) -> WorkerReport | None:
    try:
        return None if blob is None else WorkerReport.load(blob)
    except FormatUnknown:
        return None


def _load(blob: bytes | None) -> LoadReport | None:
    try:
        return None if blob is None else LoadReport.load(blob)
    except FormatUnknown:
        return None
