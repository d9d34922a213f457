"""The other libraries: how their workers are started, as shipped and as their documentation says is faster, and what they count."""

from __future__ import annotations

from typing import Any, ClassVar

from benchmarks.peers.foreign import Foreign
from benchmarks.peers.peer import COROUTINES, THREADS, Setup, Way, Ways
from benchmarks.processes import Process

_HALF = THREADS // 2
_TUNED = frozenset({"drain", "latency", "idle"})
_DRAIN = frozenset({"drain"})
_QUIET_CELERY = ("celery", "-A", "celery_jobs", "worker", "--loglevel", "WARNING")
_LONE = ("--prefetch-multiplier", "128", "--without-gossip", "--without-mingle", "--without-heartbeat")
_DRAMATIQ = ("dramatiq", "dramatiq_jobs")
_HUEY = ("huey_consumer", "huey_jobs.huey", "--quiet")
_TASKIQ = ("taskiq", "worker", "taskiq_jobs:broker", "--log-level", "WARNING")
_FAST_TASKIQ = ("--max-prefetch", "100", "--ack-type", "when_received", "--no-parse")
_SAQ = ("saq", "saq_jobs.settings")
_STREAQ = ("streaq", "run", "streaq_jobs:worker")
_ARQ = ("arq", "arq_jobs.WorkerSettings")
_IN_THREADS = {"BENCH_SLOTS": str(THREADS)}
_ON_THE_LOOP = {"BENCH_SLOTS": str(COROUTINES)}
_FAST = {"BENCH_SLOTS": "100", "BENCH_UVLOOP": "1"}
_SOON = {"BENCH_POLL": "0.005"}


class Celery(Foreign):
    """Prefork, as shipped: a process a core."""

    title = "celery"
    share = 0.15
    library = "celery"
    distributions = ("celery", "kombu", "redis")
    setups: ClassVar[Ways] = {
        "default": Way("celery worker (prefork, a process a core)", _QUIET_CELERY),
        "threads": Way(
            f"celery worker --pool threads --concurrency {THREADS}",
            (*_QUIET_CELERY, "--pool", "threads", "--concurrency", str(THREADS)),
        ),
    }

    def waiting(self) -> int:
        return int(self.server.client.llen("celery"))

    def finished(self) -> int:
        return self.results()


class CeleryTuned(Celery):
    """Prefetches more, and talks to no other worker."""

    title = "celery tuned"
    measures = _TUNED
    setups: ClassVar[Ways] = {"default": Way(f"celery worker {' '.join(_LONE)}", (*_QUIET_CELERY, *_LONE))}


class Dramatiq(Foreign):
    """Stores no results, as shipped; 2 processes of 8 threads on 2 cores."""

    title = "dramatiq"
    share = 0.4
    stores = False
    measures = frozenset({"drain", "enqueue", "idle"})
    library = "dramatiq"
    distributions = ("dramatiq", "redis")
    setups: ClassVar[Ways] = {"default": Way("dramatiq (a process a core, 8 threads each), no results", _DRAMATIQ)}

    def waiting(self) -> int:
        return int(self.server.client.llen("dramatiq:default"))

    def finished(self) -> int:
        # A message is kept until it is acknowledged; one that failed waits in the queue of delays, or is dead.
        client: Any = self.server.client
        return self.all_but(
            client.hlen("dramatiq:default.msgs") + client.hlen("dramatiq:default.DQ.msgs") + client.zcard("dramatiq:default.XQ")
        )


class DramatiqResults(Dramatiq):
    """With its middleware for results."""

    title = "dramatiq results"
    share = 0.3
    stores = True
    measures = None
    setups: ClassVar[Ways] = {
        "default": Way("dramatiq (a process a core, 8 threads each), Results middleware", _DRAMATIQ),
        "threads": Way(
            f"dramatiq --processes 2 --threads {_HALF}, Results middleware",
            (*_DRAMATIQ, "--processes", "2", "--threads", str(_HALF)),
        ),
    }


class DramatiqTuned(Dramatiq):
    """Fewer threads in each other's way, a longer prefetch; no results."""

    title = "dramatiq tuned"
    measures = _DRAIN
    setups: ClassVar[Ways] = {
        "default": Way(
            "dramatiq --processes 2 --threads 1, dramatiq_queue_prefetch=64, no results",
            (*_DRAMATIQ, "--processes", "2", "--threads", "1"),
            {"dramatiq_queue_prefetch": "64"},
        )
    }


class Huey(Foreign):
    """One thread, as shipped."""

    title = "huey"
    share = 0.3
    library = "huey"
    distributions = ("huey", "redis")
    setups: ClassVar[Ways] = {
        "default": Way("huey_consumer (one thread)", _HUEY),
        "threads": Way(f"huey_consumer -k thread -w {THREADS}", (*_HUEY, "-k", "thread", "-w", str(THREADS))),
    }

    def waiting(self) -> int:
        return int(self.server.client.llen("huey.redis.bench"))

    def finished(self) -> int:
        if self.stores:
            return int(self.server.client.hlen("huey.results.bench"))
        return self.all_but(self.waiting())


class HueyTuned(Huey):
    """A process a core."""

    title = "huey tuned"
    measures = _TUNED
    setups: ClassVar[Ways] = {"default": Way("huey_consumer -k process -w 2", (*_HUEY, "-k", "process", "-w", "2"))}


class HueyBare(HueyTuned):
    """The same without results; what is being run counts as ended: two of all."""

    title = "huey no results"
    share = 0.4
    stores = False
    measures = _DRAIN
    setups: ClassVar[Ways] = {"default": Way("huey_consumer -k process -w 2, results=False", (*_HUEY, "-k", "process", "-w", "2"))}


class Taskiq(Foreign):
    """Two processes, as shipped; a list for the queue, and its results' backend."""

    title = "taskiq"
    share = 0.3
    library = "taskiq"
    distributions = ("taskiq", "taskiq-redis", "redis", "uvloop")
    setups: ClassVar[Ways] = {
        "default": Way("taskiq worker (2 processes, ListQueueBroker, RedisAsyncResultBackend)", _TASKIQ),
        "threads": Way(
            f"taskiq worker --workers 2 --max-threadpool-threads {_HALF}",
            (*_TASKIQ, "--workers", "2", "--max-threadpool-threads", str(_HALF)),
        ),
        "async": Way(
            f"taskiq worker --workers 2 --max-async-tasks {COROUTINES // 2}",
            (*_TASKIQ, "--workers", "2", "--max-async-tasks", str(COROUTINES // 2)),
        ),
    }

    def waiting(self) -> int:
        return int(self.server.client.llen("taskiq"))

    def finished(self) -> int:
        return self.results() if self.stores else self.all_but(self.waiting())


class TaskiqTuned(Taskiq):
    """Prefetches, acknowledges at once, and does not parse parameters."""

    title = "taskiq tuned"
    measures = _TUNED
    setups: ClassVar[Ways] = {"default": Way(f"taskiq worker {' '.join(_FAST_TASKIQ)}", (*_TASKIQ, *_FAST_TASKIQ))}


class TaskiqBare(TaskiqTuned):
    """The same without results; what a worker has taken counts as ended: at most 400 of all."""

    title = "taskiq no results"
    share = 0.4
    stores = False
    measures = _DRAIN
    setups: ClassVar[Ways] = {"default": Way(f"taskiq worker {' '.join(_FAST_TASKIQ)}, no results", (*_TASKIQ, *_FAST_TASKIQ))}


class Saq(Foreign):
    """10 coroutines in one process, as shipped."""

    title = "saq"
    share = 0.3
    library = "saq"
    distributions = ("saq", "redis", "uvloop")
    setups: ClassVar[Ways] = {
        "default": Way("saq (concurrency 10)", _SAQ),
        "threads": Way(f"saq, concurrency {THREADS} (its threads: the cores and 4)", _SAQ, _IN_THREADS),
        "async": Way(f"saq, concurrency {COROUTINES}", _SAQ, _ON_THE_LOOP),
    }

    def start_worker(self, setup: Setup = "default") -> Process:
        # Its first sweep, at the start, aborts jobs that a worker has just taken and not marked yet; for as long as this lock is
        # held nobody sweeps.
        self.server.client.setex("saq:default:sweep", 3600, 1)
        return super().start_worker(setup)

    def waiting(self) -> int:
        return int(self.server.client.llen("saq:default:queued"))

    def finished(self) -> int:
        return self.all_but(int(self.server.client.zcard("saq:default:incomplete")))


class SaqTuned(Saq):
    """A process a core, 100 coroutines each, on uvloop."""

    title = "saq tuned"
    measures = _TUNED
    setups: ClassVar[Ways] = {"default": Way("saq --workers 2, concurrency 100, uvloop", (*_SAQ, "--workers", "2"), _FAST)}


class Streaq(Foreign):
    """16 coroutines in one process, as shipped."""

    title = "streaq"
    share = 0.25
    library = "streaq"
    reads = 50  # each costs it a subscription and 0.1 s; of the others only that they left the queue is known
    distributions = ("streaq", "coredis", "uvloop")
    setups: ClassVar[Ways] = {
        "default": Way("streaq run (concurrency 16)", _STREAQ),
        "threads": Way(f"streaq run, concurrency {THREADS}", _STREAQ, _IN_THREADS),
        "async": Way(f"streaq run, concurrency {COROUTINES}", _STREAQ, _ON_THE_LOOP),
    }

    def waiting(self) -> int:
        return int(self.server.client.xlen("streaq:default:queues:normal"))

    def finished(self) -> int:
        return self.all_but(self.waiting())


class StreaqTuned(Streaq):
    """A process a core, 100 coroutines each, on uvloop."""

    title = "streaq tuned"
    measures = _TUNED
    setups: ClassVar[Ways] = {"default": Way("streaq run --workers 2, concurrency 100, uvloop", (*_STREAQ, "--workers", "2"), _FAST)}


class Arq(Foreign):
    """10 coroutines in one process, as shipped; it looks for runs each half second."""

    title = "arq"
    share = 0.03
    library = "arq"
    distributions = ("arq", "redis", "uvloop")
    setups: ClassVar[Ways] = {
        "default": Way("arq (max_jobs 10, poll_delay 0.5 s)", _ARQ),
        "threads": Way(f"arq, max_jobs {THREADS}, poll_delay 5 ms, asyncio.to_thread", _ARQ, _IN_THREADS | _SOON),
        "async": Way(f"arq, max_jobs {COROUTINES}, poll_delay 5 ms", _ARQ, _ON_THE_LOOP | _SOON),
    }

    def waiting(self) -> int:
        return int(self.server.client.zcard("arq:queue"))

    def finished(self) -> int:
        return self.all_but(self.waiting())


class ArqTuned(Arq):
    """100 coroutines on uvloop; it looks for runs each 5 ms."""

    title = "arq tuned"
    share = 0.1
    measures = _TUNED
    setups: ClassVar[Ways] = {"default": Way("arq, max_jobs 100, poll_delay 5 ms, uvloop", _ARQ, _FAST | _SOON)}
