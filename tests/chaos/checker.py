"""What must hold after a trial (I1–I6 of ../shared/faults.md, and one run a slot), read from the ledger and from Redis."""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from support.waiting import until

from chaos.ledger import Entry
from chaos.nemesis import Trial
from chaos.stage import Stage
from taskq.registry.effects import run_sync
from taskq.registry.model.worker import WorkerReport
from taskq.registry.runs.document import RunDocument, read_runs

_PAGE = 500
_GONE_AFTER = 3
_SLOT = re.compile(r"@(.+)$")
_PERIOD = 0.5


@dataclass
class Report:
    """What was found.

    ``faults`` are sentences, empty where all holds; ``recoveries`` are seconds from a death to the next start, and which death.
    """

    runs: int = 0
    starts: int = 0
    again: int = 0
    slots: int = 0
    faults: list[str] = field(default_factory=list)
    recoveries: list[tuple[float, str]] = field(default_factory=list)

    def recovery(self, share: float) -> float:
        """The quantile of the recoveries, in seconds; 0 without any."""
        ordered = sorted(seconds for seconds, _ in self.recoveries)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Checker:
    """Checks one trial; `check` while the fleet is still there, `check_left` once it was told to leave."""

    def __init__(self, stage: Stage, trial: Trial) -> None:
        self._stage, self._trial, self._keys = stage, trial, stage.keys
        self.report = Report()

    def check(self) -> Report:
        """I1, I2, I3, I5 and the slots."""
        self._converged()
        starts = self._stage.ledger.starts()
        known = sorted(self._trial.acknowledged | starts.keys())
        documents = dict(self._documents(known))
        self.report.runs, self.report.starts = len(known), sum(map(len, starts.values()))
        for run in known:
            self._check_run(run, documents.get(run), starts.get(run, []))
        self._check_slots(documents, starts)
        self._measure(starts, documents)
        return self.report

    def check_left(self) -> Report:
        """I4 and I6, and that no run is anywhere but at its end."""
        for process in self._trial.left:
            self._fault(f"I4: process {process.pid} is left behind")
        for key, kind in self._keys_without_owner():
            self._fault(f"I4: {key} ({kind}) has neither an owner nor a TTL")
        return self.report

    def _fault(self, text: str) -> None:
        self.report.faults.append(text)

    # -- runs ----------------------------------------------------------------------------------------------
    def _documents(self, runs: list[str]) -> Iterator[tuple[str, RunDocument]]:
        for at in range(0, len(runs), _PAGE):
            page = runs[at : at + _PAGE]
            for run, document in zip(page, run_sync(read_runs(self._keys, page), self._stage.redis), strict=True):
                if isinstance(document, dict):
                    yield run, document

    def _check_run(self, run: str, document: RunDocument | None, starts: list[Entry]) -> None:
        if document is None:
            self._fault(f"I1: run {run} is gone; it started {len(starts)} times")
            return
        lost = [attempt for attempt in document["attempts"] if attempt["outcome"] in ("worker_lost", "executor_died")]
        poisoned = document["status"] == "failed" and document["reason"] == "poison" and len(lost) >= _GONE_AFTER - 1
        if document["status"] != "succeeded" and not poisoned:
            self._fault(f"I1: run {run} is {document['status']} ({document['reason']}: {document['error']})")
        results = self._stage.redis.xlen(self._keys.rq_results(run))
        if results != 1:
            self._fault(f"I2: run {run} has {results} outcomes")
        if document["status"] == "succeeded" and not starts:
            self._fault(f"I2: run {run} has succeeded without a start")
        self.report.again += len(starts) > 1
        if len(starts) > len(document["attempts"]):
            attempts = [(attempt["attempt"], attempt["outcome"]) for attempt in document["attempts"]]
            self._fault(f"I3: run {run} started {len(starts)} times, recorded are {attempts}")

    # -- slots ---------------------------------------------------------------------------------------------
    def _check_slots(self, documents: dict[str, RunDocument], starts: dict[str, list[Entry]]) -> None:
        """One run a slot, and none left out."""
        slots: Counter[float] = Counter()
        for run in starts:
            document = documents.get(run)
            if document is not None and document["task"] == "tick" and (found := _SLOT.search(document["cause"] or "")):
                slots[_seconds(found.group(1))] += 1
        self.report.slots = len(slots)
        for slot, count in slots.items():
            if count > 1:
                self._fault(f"the slot at {slot} has {count} runs")
        if slots:
            first, last = min(slots), max(slots)
            missing = round((last - first) / _PERIOD) + 1 - len(slots)
            if missing:
                self._fault(f"{missing} slots between {first} and {last} have no run")

    # -- recovery ------------------------------------------------------------------------------------------
    def _measure(self, starts: dict[str, list[Entry]], documents: dict[str, RunDocument]) -> None:
        """From each death to the next start of each run that it held; of a scheduler or server, to the next start at all.

        An attempt that another death ended before the task's first line has no start in the ledger; Redis has when it was claimed.
        """
        ahead = time.time() - time.monotonic()
        moments = sorted(entry.at for found in starts.values() for entry in found)
        ticks = sorted(entry.at for run, found in starts.items() for entry in found if documents.get(run, {}).get("task") == "tick")
        for death in self._trial.deaths:
            if death.fault.kind in ("worker", "executor"):
                for run in death.held:
                    claimed = [_seconds(text) - ahead for text in _claims(documents.get(run))]
                    later = [at for at in (*claimed, *(entry.at for entry in starts.get(run, []))) if at > death.at]
                    self.report.recoveries += [(min(later) - death.at, str(death.fault))] if later else []
            elif death.fault.kind in ("scheduler", "server"):
                line = ticks if death.fault.kind == "scheduler" else moments
                at = bisect_right(line, death.at)
                self.report.recoveries += [(max(0.0, line[at] - death.at - _PERIOD), str(death.fault))] if at < len(line) else []

    # -- the fleet -----------------------------------------------------------------------------------------
    def _converged(self) -> None:
        """All workers that are alive are at the registry's revision.

        The report of one that was killed right before the end outlives it by twice its TTL, which is longer than we wait here: it says
        nothing of the fleet, and counts no more than it does for a rollout.
        """
        redis, keys = self._stage.redis, self._keys

        def behind() -> list[str]:
            wanted = int(redis.get(keys.revision) or 0)
            alive = redis.time()[0] - self._stage.settings.worker_ttl
            names = [name.decode() for name in redis.zrangebyscore(keys.workers, alive, "+inf")]
            blobs = {name: redis.hget(keys.worker(name), "status") for name in names}
            reports = {name: WorkerReport.load(blob) for name, blob in blobs.items() if blob}
            return [name for name, report in reports.items() if report.revision != wanted]

        try:
            until(lambda: not behind(), 5.0, "all workers are at the registry's revision")
        except AssertionError:
            self._fault(f"I5: behind after 5 s: {behind()}")

    def _keys_without_owner(self) -> Iterator[tuple[str, str]]:
        redis, keys = self._stage.redis, self._keys
        tasks = [name.decode() for name in redis.hkeys(keys.registry)]
        owned = {keys.registry, keys.revision, keys.changelog, keys.fence, keys.runs, keys.events, keys.rq_queues, keys.epoch}
        owned |= {keys.scheduler_due, keys.scheduler_state, keys.schedulers, keys.workers, keys.rq_workers}
        for task in tasks:
            owned |= {keys.versions(task), keys.contents(task), keys.rollouts(task), keys.runs_of(task)}
        owned |= {keys.rq_workers_of("default")} | {keys.rq_registry(kind, "default") for kind in ("finished", "failed", "canceled")}
        for name in redis.scan_iter(count=1000):
            key = name.decode()
            if key not in owned and redis.ttl(name) == -1 and not self._is_code(key, tasks):
                yield key, redis.type(name).decode()

    def _is_code(self, key: str, tasks: list[str]) -> bool:
        """An artifact that a version names."""
        if not key.startswith(self._keys.code("")):
            return False
        digest = key.removeprefix(self._keys.code("")).encode()
        return any(digest in blob for task in tasks for blob in self._stage.redis.hvals(self._keys.versions(task)))


def _claims(document: RunDocument | None) -> list[str]:
    """When its attempts began."""
    return [attempt["started_at"] for attempt in document["attempts"] if attempt["started_at"]] if document else []


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
