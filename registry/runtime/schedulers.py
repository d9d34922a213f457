"""Which schedulers there are, by what they report."""

from __future__ import annotations

from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import FormatUnknown
from taskq.registry.keys import Keys
from taskq.registry.model.scheduler import SchedulerReport
from taskq.registry.settings import Settings


def live_schedulers(keys: Keys, settings: Settings) -> Op[list[SchedulerReport]]:
    """Reports of the schedulers whose heartbeat is younger than ``worker_ttl`` by Redis' clock, the leader first, then by name.

    One whose report another release wrote is left out: what it says can't be read.
    """
    (seconds, micros), blobs = yield Pipeline([Command("TIME"), Command("HVALS", keys.schedulers)])
    oldest = int(seconds) + int(micros) / 1e6 - settings.worker_ttl
    reports = [report for blob in blobs if (report := report_of(blob)) is not None and report.heartbeat > oldest]
    return sorted(reports, key=lambda report: (report.state != "leader", report.scheduler))


def report_of(blob: bytes) -> SchedulerReport | None:
    """A report; None where another release wrote it."""
    try:
        return SchedulerReport.load(blob)
    except FormatUnknown:
        return None
