"""``million``: very many runs in one go: what the worker, the server and the keys do meanwhile and afterwards."""

from __future__ import annotations

import re
import time
from collections import Counter

from benchmarks.errors import BenchError
from benchmarks.measured import Measured, Size, Tell
from benchmarks.measures.load import Feeder
from benchmarks.memory import rss_mib
from benchmarks.peers.fleet import Taskq
from benchmarks.peers.peer import Peer
from benchmarks.processes import pause

_LOW = 20_000
_LOOK = 0.5
_TTL = "5"
_CLEAN_WITHIN = 90.0
_MIB = 1 << 20
# Keys that belong to one run; a UUID in any form, or the id that a run has.
_OF_A_RUN = re.compile(r"^(rq:(job|results|execution|executions|deferred|dependents):|taskq:(logs|run|idempotency|lease|checkpoint):)")


def measure(peer: Peer, size: Size, tell: Tell) -> Measured:
    """Keep 20,000 waiting until all have been enqueued, wait for their end, and then until what is kept for a while is gone.

    Results are kept for 5 s. Memory is the resident set of the worker's processes together, and what the server says that it uses.

    Raises:
        BenchError: a run failed or was lost.
    """
    assert isinstance(peer, Taskq)  # noqa: S101  # `MEASURES` says so
    peer.register("short_tasks.py")
    worker = peer.worker("worker", TASKQ_RESULT_TTL=_TTL)
    _until_ready(peer)
    server_before = _used(peer)
    rss: list[float] = []
    used: list[float] = []
    began = time.monotonic()
    with Feeder(peer, "brief", _LOW, size.million, keep=False) as feeder:
        while (ended := _succeeded(peer)) < size.million:
            peer.processes.check()
            rss.append(rss_mib(worker.pid))
            used.append(_used(peer))
            tell(ended / size.million)
            pause(_LOOK)
    took = time.monotonic() - began
    failed = peer.failed()
    left = _until_clean(peer)
    used.append(_used(peer))
    peer.processes.retire(worker)
    if failed or peer.waiting():
        raise BenchError(f"taskq: of {feeder.enqueued} runs {failed} have failed, {peer.waiting()} wait")
    figures = {
        "per_second": size.million / took,
        "worker_first_mib": _part(rss, 1),
        "worker_last_mib": _part(rss, 9),
        "worker_growth_mib": _part(rss, 9) - _part(rss, 1),
        "server_most_mib": max(used),
        "server_growth_mib": used[-1] - server_before,
        "keys_left": float(sum(left.values())),
    }
    notes = [f"keys that are there at the end: {', '.join(f'{name} {count}' for name, count in sorted(_names(peer).items()))}"]
    return Measured(size.million, figures, {"worker_rss_mib": _round(rss), "server_used_mib": _round(used)}, notes)


def _until_ready(peer: Taskq) -> None:
    """One run through, so that the worker is up and the task is loaded."""
    peer.face.calls("brief", 1)
    peer.wait_until_finished(1)


def _succeeded(peer: Taskq) -> int:
    """All that have succeeded so far, also those whose records are gone: what the worker's own counter in RQ's records says."""
    keys = [key for key in peer.server.client.scan_iter("rq:worker:*") if b":" not in key.removeprefix(b"rq:worker:")]
    counts = [int(peer.server.client.hget(key, "successful_job_count") or 0) for key in keys]
    return sum(counts) - 1  # the first one made it ready


def _used(peer: Taskq) -> float:
    return float(peer.server.client.info("memory")["used_memory"]) / _MIB


def _part(samples: list[float], tenth: int) -> float:
    """The mean of one tenth of the samples."""
    part = samples[len(samples) * tenth // 10 : len(samples) * (tenth + 1) // 10] or samples[-1:]
    return sum(part) / len(part)


def _until_clean(peer: Taskq) -> Counter[str]:
    """Wait until no key of a run is left, as long as it gets fewer; returns those that are."""
    deadline = time.monotonic() + _CLEAN_WITHIN
    while (left := _of_runs(peer)) and time.monotonic() < deadline:
        pause(_LOOK)
    return left


def _of_runs(peer: Taskq) -> Counter[str]:
    """Keys of single runs, and entries of the registries that name runs, by where they are."""
    names = (key.decode() for key in peer.server.client.scan_iter(count=1000))
    found = Counter(match.group(1) for name in names if (match := _OF_A_RUN.match(name)))
    for registry in ("finished", "wip", "failed"):
        found[registry] = int(peer.server.client.zcard(f"rq:{registry}:{peer.queue}"))
    return +found


def _names(peer: Taskq) -> Counter[str]:
    """What else is there, by the first parts of the keys' names."""
    return Counter(":".join(key.decode().split(":")[:2]) for key in peer.server.client.scan_iter(count=1000))


def _round(samples: list[float]) -> list[float]:
    return [round(sample, 2) for sample in samples]
