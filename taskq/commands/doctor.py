"""``doctor``: checks of server and fleet, each with what to do where it fails."""

from __future__ import annotations

import platform
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import click
import redis

from taskq.cli import output
from taskq.cli.options import Options, command
from taskq.cli.overview import failed_loads, queue_rows, server_time, unheld_limits
from taskq.cli.session import Session, session
from taskq.cli.tables import table
from taskq.cli.words import counted, last_line
from taskq.producer.scheduler.listing import read_schedules
from taskq.registry.changes.fleet import beating_workers, live_workers
from taskq.registry.errors import ServerUnreachable, TaskqError
from taskq.registry.model.resources import Resources
from taskq.registry.model.worker import WorkerReport
from taskq.registry.runtime.schedulers import live_schedulers

_OLDEST_SERVER = (7, 0)
_SLOW = 0.05  # seconds for one round trip
_SKEW = 1.0
_FULL = 0.9
_SHOWN = 3
_HUNG = 30.0  # seconds without a look at what is due


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``fix`` says what to do, None where nothing is to be done."""

    name: str
    ok: bool
    detail: str
    fix: str | None = None


@command(
    "doctor",
    examples="""
    taskq doctor
    taskq doctor --json | jq '.checks[] | select(.ok | not)'
    taskq doctor --here                     # the health check of a worker's or scheduler's container
    """,
)
@click.option("--here", is_flag=True, help="Only whether a worker or scheduler of this host is alive.")
def doctor_command(options: Options, *, here: bool) -> None:
    """Check server and fleet, and say what to do; exit 1 if something is not well."""
    with session(options) as opened:
        checks = [_here(opened)] if here else examine(opened)
    ok = all(check.ok for check in checks)
    if options.json:
        output.document({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        table("STATE CHECK DETAIL~", map(_row, checks), empty="")
        failed = sum(not check.ok for check in checks)
        output.note("All is well." if ok else f"{counted(failed, 'check')} failed.")
    if not ok:
        raise click.exceptions.Exit(1)


def _row(check: Check) -> tuple[str, str, str]:
    detail = check.detail if check.ok or not check.fix else f"{check.detail}\n→ {check.fix}"
    return ("ok" if check.ok else "failed"), check.name, detail


def examine(opened: Session) -> list[Check]:
    """All checks in order; without a server only those that need none."""
    try:
        skew, latency = opened.perform(server_time())
    except ServerUnreachable as error:
        return [Check("server", ok=False, detail=error.message, fix=error.hint or None), *_local()]
    info: dict[str, Any] = opened.redis.info()
    workers = opened.perform(live_workers(opened.keys, opened.settings))
    remote: list[Callable[[], Check]] = [
        partial(_server, info, latency),
        partial(_durability, opened, info),
        partial(_memory, info),
        partial(_clock, skew, workers),
        partial(_workers, workers),
        partial(_behind, opened, workers),
        partial(_queues, opened),
        partial(_loads, opened, workers),
        partial(_resources, opened, workers),
        partial(_scheduler, opened),
        partial(_jobs, opened),
    ]
    return [_safely(make) for make in remote] + _local()


def _here(opened: Session) -> Check:
    host = socket.gethostname()
    try:
        names = [report.worker for report in opened.perform(beating_workers(opened.keys, opened.settings)) if report.host == host]
        names += [report.scheduler for report in opened.perform(live_schedulers(opened.keys, opened.settings)) if report.host == host]
    except ServerUnreachable as error:
        return Check("here", ok=False, detail=error.message, fix=error.hint or None)
    if not names:
        return Check(
            "here", ok=False, detail=f"no worker or scheduler of {host} is alive", fix="see its log; a fresh one needs a few seconds"
        )
    return Check("here", ok=True, detail=f"alive on {host}: {_few(names)}")


def _safely(make: Callable[[], Check]) -> Check:
    try:
        return make()
    except TaskqError as error:
        name = getattr(make, "func", make).__name__.strip("_")
        return Check(name, ok=False, detail=error.message, fix=error.hint or None)


def _server(info: dict[str, Any], latency: float) -> Check:
    spoken = str(info["redis_version"])
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {spoken}"
    detail = f"{name} answers in {latency * 1000:.1f} ms"
    if tuple(int(part) for part in spoken.split(".")[:2]) < _OLDEST_SERVER:
        return Check("server", ok=False, detail=f"{detail}; taskq needs 7.0", fix="upgrade the server to Redis 7.0 or Valkey")
    if latency > _SLOW:
        return Check("server", ok=False, detail=detail, fix="bring server and programs closer together, or see SLOWLOG GET")
    return Check("server", ok=True, detail=detail)


def _durability(opened: Session, info: dict[str, Any]) -> Check:
    if not info.get("aof_enabled"):
        lost = "no append-only file: a crash of the server loses acknowledged runs"
        return Check("durability", ok=False, detail=lost, fix="set appendonly yes and appendfsync always")
    if info.get("aof_last_write_status", "ok") != "ok":
        return Check("durability", ok=False, detail="the last write of the append-only file failed", fix="check the disk of the server")
    policy = _configured(opened, "appendfsync")
    told = {
        "always": "appendfsync always: a crash of the server loses no acknowledged run",
        "everysec": "appendfsync everysec: a crash of the server may lose about 2 s of acknowledged runs",
        "no": "appendfsync no: a crash of the machine may lose half a minute of acknowledged runs",
    }
    if policy == "no":
        return Check("durability", ok=False, detail=told["no"], fix="set appendfsync always, or everysec")
    return Check("durability", ok=True, detail=told.get(policy or "", "append-only file; the server does not tell how often it syncs"))


def _configured(opened: Session, name: str) -> str | None:
    """A setting of the server; None where it does not tell (managed servers refuse CONFIG)."""
    try:
        reply = opened.redis.config_get(name)
    except redis.ResponseError:
        return None
    return str(reply[name]) if isinstance(reply, dict) and name in reply else None


def _memory(info: dict[str, Any]) -> Check:
    policy, most, used = info.get("maxmemory_policy", "noeviction"), int(info.get("maxmemory", 0)), int(info["used_memory"])
    detail = f"{used / 2**20:.0f} MiB used of {f'{most / 2**20:.0f} MiB' if most else 'no limit'}, policy {policy}"
    if policy != "noeviction" and most:
        return Check("memory", ok=False, detail=f"{detail}: a full server throws away runs", fix="set maxmemory-policy noeviction")
    if most and used > _FULL * most:
        return Check("memory", ok=False, detail=detail, fix="raise maxmemory, or keep results for less long (result_ttl)")
    return Check("memory", ok=True, detail=detail)


def _clock(skew: float, workers: Sequence[WorkerReport] = ()) -> Check:
    off = [f"{worker.worker} ({-worker.skew:+.1f} s)" for worker in workers if abs(worker.skew) > _SKEW]
    if off:
        told = f"wrong by the server's on the hosts of {_few(off)}"
        return Check("clock", ok=False, detail=told, fix="let NTP set them; nothing is decided by them, but times in logs are wrong")
    detail = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine" if skew else "the server's and this machine's agree"
    if abs(skew) > _SKEW:
        return Check("clock", ok=False, detail=f"the server is {detail}", fix="let NTP set both clocks; leases follow the server's")
    return Check("clock", ok=True, detail=detail)


def _workers(workers: list[WorkerReport]) -> Check:
    if not workers:
        return Check("workers", ok=False, detail="none is alive: runs wait", fix="start one: `taskq worker` (or `taskq up`)")
    executors = sum(worker.executors for worker in workers)
    named = _few([worker.worker for worker in workers])
    return Check("workers", ok=True, detail=f"{len(workers)} alive with {counted(executors, 'executor')}: {named}")


def _behind(opened: Session, workers: list[WorkerReport]) -> Check:
    revision = int(opened.ask("GET", opened.keys.revision) or 0)
    behind = [worker.worker for worker in workers if worker.revision < revision]
    if behind:
        fix = "ask again in a few seconds; then see that worker's log"
        return Check("revision", ok=False, detail=f"{revision}; not yet applied by {_few(behind)}", fix=fix)
    return Check("revision", ok=True, detail=f"{revision}" + (", applied everywhere" if workers else ""))


def _queues(opened: Session) -> Check:
    rows = opened.perform(queue_rows(opened.keys, opened.settings))
    lost = [row["queue"] for row in rows if not row["workers"] and (row["queued"] or row["scheduled"] or row["parked"] or row["tasks"])]
    if lost:
        return Check("queues", ok=False, detail=f"no worker serves {_few(lost)}", fix=f"taskq worker --queues {','.join(lost)}")
    return Check("queues", ok=True, detail=f"{counted(len(rows), 'queue')}, {counted(sum(row['queued'] for row in rows), 'run')} waiting")


def _loads(opened: Session, workers: list[WorkerReport]) -> Check:
    failed = opened.perform(failed_loads(opened.keys, workers))
    if failed:
        named = [f"{report.task} {report.version} on {worker} ({last_line(report.error)})" for worker, report in failed]
        task = failed[0][1].task
        fix = f"see `taskq rollout {task}`; `taskq rollback {task} -m REASON`"
        return Check("loads", ok=False, detail=f"can't be loaded: {_few(named)}", fix=fix)
    return Check("loads", ok=True, detail="every routed version is loaded where it was tried")


def _resources(opened: Session, workers: list[WorkerReport]) -> Check:
    """Which backend holds runs to their limits on each worker, and the tasks whose limits one of them can't hold."""
    lacking = [worker for worker in workers if worker.limits is None or worker.limits.lacks]
    backends = sorted({worker.limits.backend for worker in workers if worker.limits is not None})
    means = ", ".join(
        f"{name} on {_few([worker.worker for worker in workers if worker.limits and worker.limits.backend == name])}" for name in backends
    )
    unheld = opened.perform(unheld_limits(opened.keys, workers))
    if unheld:
        named = _few([f"{', '.join(names)} of {task} on {worker}" for task, worker, names in unheld])
        reasons = sorted({f"{w.worker}: {w.limits.lacks}" for w in lacking if w.limits is not None})
        fix = "let these workers make control groups (README, Limits of resources), or leave out these limits"
        return Check("resources", ok=False, detail=f"not enforced: {named} ({_few(reasons) or 'they report none'})", fix=fix)
    if not workers:
        return Check("resources", ok=True, detail="no worker is alive to hold runs to their limits")
    weak = [f"{', '.join(_missing(worker))} can't be enforced on {worker.worker}" for worker in workers if _missing(worker)]
    return Check("resources", ok=True, detail="; ".join([f"held by {means}" if means else "no worker tells how", *weak[:_SHOWN]]))


def _missing(worker: WorkerReport) -> list[str]:
    enforced = worker.limits.enforces if worker.limits else ()
    return [name for name in Resources.model_fields if name not in enforced]


def _scheduler(opened: Session) -> Check:
    alive = opened.perform(live_schedulers(opened.keys, opened.settings))
    schedules = len(opened.perform(read_schedules(opened.keys, fired=False)))
    delayed = int(opened.ask("ZCARD", opened.keys.scheduler_runs))
    work = f"{counted(schedules, 'schedule')}, {counted(delayed, 'delayed run')}"
    start = "start one: `taskq scheduler` (or `taskq up`)"
    if not alive:
        if schedules or delayed:
            return Check("scheduler", ok=False, detail=f"none is alive: {work} wait", fix=start)
        return Check("scheduler", ok=True, detail="none is alive, and none is needed: no schedules, no delayed runs")
    named = _few([report.scheduler for report in alive])
    leader = alive[0]
    if leader.state != "leader":
        fix = f"ask again in a few seconds; then see their logs, or {start}"
        return Check("scheduler", ok=False, detail=f"none of {named} leads: {work} wait", fix=fix)
    silent = leader.heartbeat - (leader.last_tick or leader.started_at)
    if silent > _HUNG:
        return Check("scheduler", ok=False, detail=f"{leader.scheduler} leads, and has done nothing for {silent:.0f} s", fix="see its log")
    return Check("scheduler", ok=True, detail=f"{leader.scheduler} leads, {len(alive) - 1} standing by; {work}")


def _jobs(opened: Session) -> Check:
    """RQ jobs of `FleetScheduler`: served by `taskq scheduler`, or by a program of the user's own."""
    waiting = counted(int(opened.ask("ZCARD", opened.keys.scheduler_jobs)), "job")
    leader = opened.ask("GET", opened.keys.scheduler_jobs_lease)
    if leader is None and not waiting.startswith("0"):
        fix = "start one: `taskq scheduler`, or a program that calls FleetScheduler(…).run()"
        return Check("jobs", ok=False, detail=f"{waiting} of FleetScheduler wait, and no scheduler hands them over", fix=fix)
    served = "" if leader is None else f", {leader.decode(errors='replace').partition('|')[2]} hands them over"
    return Check("jobs", ok=True, detail=f"{waiting} of FleetScheduler scheduled{served}")


def _local() -> list[Check]:
    parts = ", ".join(f"{name} {version(name)}" for name in ("taskq-fleet", "rq", "redis", "pydantic"))
    return [Check("release", ok=True, detail=f"Python {platform.python_version()}, {parts}")]


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
