"""The executor: a child process of a worker, and the only place where task code runs.

**A process of its own, exec'd clean.** Task code may crash, hang, leak, fork or call ``os._exit``; only a process contains
that. It is started by exec and never by a fork of the supervisor, so it inherits no thread, no lock, no connection and no
credential. It holds no link to Redis at all: what it gets and gives passes one socketpair (`taskq.worker.link`).

**Small.** A worker has as many executors as cores, so each megabyte counts: msgpack, the standard library and our modules
that need nothing else. redis, rq and pydantic are never imported by us, asyncio with the first ``async def`` task, pydantic with
the first task whose annotations ask for conversion.

**Alone or together.** A run of a plain function has the process for itself, on the main thread: Python raises nothing into a thread
from outside in a way that could be aimed exactly; a signal handler on the main thread can. Parallelism is then the number of executors.
Runs of ``async def`` tasks share one loop that lives as long as the process, so that their connection pools do; tasks of ``threads=N``
share threads (`together`). An executor works either way at a time: what blocks the main thread would stop every coroutine unnoticed.

**What has begun is known** (`taskq.worker.link.page`): the number of what is begun is stored in memory shared with the supervisor
first, so that no SIGKILL, whenever it comes, leaves a start that nobody recorded.

**Many versions side by side** (`versions`): each artifact is a module under a name of its own, so the old version goes on
while the new one is loaded, and a version is dropped, with its module, when nothing refers to it any more.

**Stops are aimed** (`gate`): SIGUSR1 says "read now". The handler raises in the task only if a CANCEL for the very run that is
executing was read, only while the task's code executes, and never inside of our own sending, where it would cut a frame
in two. It strikes at most once per CANCEL, wherever the run ends meanwhile.

**Throughput** (`loop`, `channel`): many messages are read per ``recv``, answers are gathered and written as one frame when the inbox is
empty, after 64 or 2 ms. A helper thread (`flusher`) writes what a long run would otherwise hold back; it sleeps without a timeout
unless something waits. A run pays for what it uses: its context is made when its code asks for it, parameters are decoded where
there are any, and what a run may have changed of the process is put back by a handful of calls that cost 2 µs together.

Modules: `process` makes the process what it must be · `gate` stops · `channel` reads and writes frames · `flusher` the helper thread ·
`inbox` order and urgency of messages · `versions` loaded code · `running` one run → one outcome · `coroutines` an async run by itself ·
`together` runs beside each other · `output` what a run prints and logs · `loop` ties them together.
"""
