"""Every Redis key that taskq touches, with its type and lifetime; no other module spells one.

With a hash tag in RQ's prefix (``{x}:rq``) our keys carry the same tag (``{x}:taskq:…``), so that a namespace sits in one
slot of a Redis Cluster.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Prefixes:
    """What every key begins with; see `Keys`."""

    namespace: str = "taskq"
    rq: str = "rq"

    @cached_property
    def prefix(self) -> str:
        """Our prefix, under the hash tag of RQ's prefix if that has one."""
        tag = re.match(r"\{[^}]+\}", self.rq)
        return f"{tag.group()}:{self.namespace}" if tag else self.namespace


@dataclass(frozen=True)
class RegistryKeys(Prefixes):
    """The registry and its change log."""

    @property
    def registry(self) -> str:
        """hash, for ever: task → its record."""
        return f"{self.prefix}:registry"

    @property
    def revision(self) -> str:
        """string, for ever: the registry-wide counter of committed changes."""
        return f"{self.prefix}:revision"

    @property
    def changelog(self) -> str:
        """stream, capped: one entry a change, id ``<revision>-0``, fields ``tasks`` (newline-separated) and ``change``."""
        return f"{self.prefix}:changelog"

    @property
    def changes(self) -> str:
        """channel: a CloudEvent for each committed change."""
        return f"{self.prefix}:changes"

    def versions(self, task: str) -> str:
        """hash, for ever: version number → version record."""
        return f"{self.prefix}:versions:{task}"

    def contents(self, task: str) -> str:
        """hash, for ever: content (digest of artifact and spec together) → the version that first held it."""
        return f"{self.prefix}:contents:{task}"

    def code(self, digest: str) -> str:
        """string: an artifact; has a TTL until a committed version names it."""
        return f"{self.prefix}:code:{digest}"

    def registrar(self, token: str) -> str:
        """string, TTL: there as long as who does this rollout is alive."""
        return f"{self.prefix}:registrar:{token}"

    def rollouts(self, task: str) -> str:
        """list, capped: the last rollouts of a task, newest first."""
        return f"{self.prefix}:rollouts:{task}"


@dataclass(frozen=True)
class WorkerKeys(Prefixes):
    """Workers, and what is asked of them."""

    @property
    def workers(self) -> str:
        """zset: worker → time of its last heartbeat by Redis' clock, in seconds; pruned by any worker's sweep."""
        return f"{self.prefix}:workers"

    def worker(self, worker: str) -> str:
        """hash, TTL: ``status`` (the worker's report) and ``load:<task>:<version>`` (a load report each)."""
        return f"{self.prefix}:worker:{worker}"

    @property
    def control(self) -> str:
        """channel: requests to all workers (poke, drain …)."""
        return f"{self.prefix}:control"

    def asked(self, worker: str) -> str:
        """hash, TTL: what a worker is asked for, read with its heartbeat: ``cancel:<token>:<run>`` → reason, ``drain`` → its start."""
        return f"{self.prefix}:asked:{worker}"

    @property
    def epoch(self) -> str:
        """string, for ever: drawn by whoever finds none; another one means that Redis has lost its state."""
        return f"{self.prefix}:epoch"

    @property
    def inspections(self) -> str:
        """list, TTL: sources that a worker's throw-away executor is asked to inspect."""
        return f"{self.prefix}:inspections"

    def inspection(self, request: str) -> str:
        """list, TTL: the answer to one inspection request."""
        return f"{self.prefix}:inspection:{request}"


@dataclass(frozen=True)
class RunKeys(Prefixes):
    """Runs, leases, logs, events."""

    @property
    def leases(self) -> str:
        """zset: run → expiry of its lease in ms by Redis' clock."""
        return f"{self.prefix}:leases"

    @property
    def lease(self) -> str:
        """hash: run → ``<token>|<worker>|<queue>``; a field lives as long as the member of `leases`."""
        return f"{self.prefix}:lease"

    @property
    def fence(self) -> str:
        """string, for ever: the counter that fencing tokens come from."""
        return f"{self.prefix}:fence"

    @property
    def runs(self) -> str:
        """zset, capped: run → time of its enqueue in seconds, of all tasks."""
        return f"{self.prefix}:runs"

    def runs_of(self, task: str) -> str:
        """zset, capped: the same for one task."""
        return f"{self.prefix}:runs:{task}"

    def attempts(self, run: str) -> str:
        """list, TTL: records of a run's earlier attempts, oldest first; the last attempt stands in the job's hash."""
        return f"{self.prefix}:attempts:{run}"

    def logs(self, run: str) -> str:
        """stream, TTL, capped: what a run logged."""
        return f"{self.prefix}:logs:{run}"

    def parked(self, task: str) -> str:
        """list: queued runs of a paused task, put aside at claim, in order; moved back when it is resumed."""
        return f"{self.prefix}:parked:{task}"

    @property
    def parked_tasks(self) -> str:
        """set: tasks that have a list of parked runs."""
        return f"{self.prefix}:parked"

    def idempotency(self, task: str, digest: str) -> str:
        """string, TTL: the run that an idempotency key (by its digest) stands for."""
        return f"{self.prefix}:once:{task}:{digest}"

    @property
    def events(self) -> str:
        """stream, capped, and channel of the same name: life of the runs as CloudEvents."""
        return f"{self.prefix}:events"

    def stats(self, task: str, version: int, minute: int) -> str:
        """hash, TTL: runs of a version that ended in a minute since the epoch: counts by status, and a histogram of how long they took."""
        return f"{self.prefix}:stats:{task}:{version}:{minute}"


@dataclass(frozen=True)
class SchedulerKeys(Prefixes):
    """Schedules, runs that are due later, and the schedulers. No stock rq-scheduler looks at any of these."""

    @property
    def scheduler_lease(self) -> str:
        """string, TTL: ``<token>|<scheduler>``: who fires slots and moves due runs."""
        return f"{self.prefix}:scheduler:lease"

    @property
    def scheduler_due(self) -> str:
        """zset: schedule (``<task>|<its text>``) → its next slot in ms by Redis' clock; a member lives as long as the schedule."""
        return f"{self.prefix}:scheduler:due"

    @property
    def scheduler_state(self) -> str:
        """hash: schedule → what has become of its slots (msgpack); a field lives as long as the member of `scheduler_due`."""
        return f"{self.prefix}:scheduler:state"

    @property
    def scheduler_runs(self) -> str:
        """zset: run that is due later → when, in ms by Redis' clock; its job stands in RQ's ``scheduled`` registry as well."""
        return f"{self.prefix}:scheduler:runs"

    @property
    def scheduler_wake(self) -> str:
        """channel: something became due sooner than anything before."""
        return f"{self.prefix}:scheduler:wake"

    @property
    def schedulers(self) -> str:
        """hash: scheduler → its last report (msgpack); pruned by the leader."""
        return f"{self.prefix}:scheduler:reports"

    @property
    def scheduler_jobs(self) -> str:
        """zset: RQ job made by a method of `FleetScheduler` → when it is due, in s since the epoch."""
        return f"{self.prefix}:scheduler:jobs"

    @property
    def scheduler_repeats(self) -> str:
        """hash: such a job → how it repeats (msgpack); a field lives as long as the member of `scheduler_jobs`."""
        return f"{self.prefix}:scheduler:repeats"

    @property
    def scheduler_jobs_lease(self) -> str:
        """string, TTL: ``<token>|<scheduler>``: who moves these jobs."""
        return f"{self.prefix}:scheduler:jobs:lease"

    @property
    def scheduler_instances(self) -> str:
        """prefix of hashes, TTL: rq-scheduler's own record of a scheduler (its birth and death)."""
        return f"{self.prefix}:scheduler:instance:"


@dataclass(frozen=True)
class RqKeys(Prefixes):
    """RQ's own keys: its layout, spelt here so that nothing imports rq to know it."""

    def queue_name(self, queue: str) -> str:
        """RQ's name of our queue: ``taskq.default``."""
        return f"{self.namespace}.{queue}"

    def our_queue(self, name: str) -> str:
        """Our name of RQ's queue: the reverse of `queue_name`."""
        return name.removeprefix(f"{self.namespace}.")

    def rq_queue(self, queue: str) -> str:
        """list: ids of queued runs; RQ pushes right and pops left."""
        return f"{self.rq}:queue:{self.queue_name(queue)}"

    def rq_any_queue(self, name: str) -> str:
        """list: a queue by RQ's own name of it, ours or somebody else's."""
        return f"{self.rq}:queue:{name}"

    @property
    def rq_queues(self) -> str:
        """set: keys of all queues."""
        return f"{self.rq}:queues"

    def rq_job(self, run: str) -> str:
        """hash, TTL once ended: a run; RQ's fields and ours."""
        return f"{self.rq}:job:{run}"

    def rq_results(self, run: str) -> str:
        """stream, TTL: RQ's results of a run; who waits for a run blocks on it."""
        return f"{self.rq}:results:{run}"

    def rq_registry(self, kind: str, queue: str) -> str:
        """zset: RQ's registry of a kind (``wip``, ``finished``, ``failed``, ``canceled``, ``scheduled``) for our queue."""
        return f"{self.rq}:{kind}:{self.queue_name(queue)}"

    @property
    def rq_workers(self) -> str:
        """set: keys of all RQ workers."""
        return f"{self.rq}:workers"

    def rq_workers_of(self, queue: str) -> str:
        """set: keys of the RQ workers that listen to our queue."""
        return f"{self.rq}:workers:{self.queue_name(queue)}"

    def rq_worker(self, worker: str) -> str:
        """hash, TTL: a worker as RQ shows it."""
        return f"{self.rq}:worker:{worker}"


@dataclass(frozen=True)
class Keys(RegistryKeys, WorkerKeys, RunKeys, SchedulerKeys, RqKeys):
    """The keys of one namespace.

    Args:
        namespace: prefix of our keys.
        rq: RQ's own prefix (``RQ_KEY_PREFIX``).
    """
