"""The supervisor: one asyncio thread that takes runs from the queues, has executors run them, and records what came of it.

::

    queue ──look──▶ claims ──▶ dispatch ──RUN──▶ executor ──FINISHED──▶ outcomes ──▶ finish.lua / release.lua
                      │           ▲  │                                      ▲
            revision ahead?       │  version not there yet             death, deadline (pool), expired lease (sweeper)
                      ▼           │  ▼
                    feed ──▶ loading (try, load ahead, swap)

One loop a module, all of the same shape (`taskq.registry.runtime.loop.Loop`). State has one owner each, and the rest asks it:

=============  =========================================  ======================================================
module         does                                       owns
=============  =========================================  ======================================================
`claims`       waits for room and for a run, claim.lua    whether the queues may hold more
`dispatch`     route → check parameters → executor        claimed runs that no executor has yet: a short backlog,
                                                          and runs that wait for their version
`outcomes`     finish.lua and release.lua, in batches     outcomes that Redis has not confirmed
`ride`         claims and outcomes in one call, cycle.lua whether one is under way
`quota`        `--max-jobs`, `--max-idle`                 how many runs have ended
`leases`       renew.lua                                  nothing: it asks for every run that is not confirmed
`doubts`       leases that are not ours any more          runs of which it is not known why
`sweeper`      what others left: expired leases, litter   which leases it has seen late (`runs.suspects`)
`requests`     cancel and drain, as they are asked for    nothing
`order`        which queue a claim begins with, and when  whose turn it is; what was seen of the queues in vain
               none is worth it
`logs`         log.lua: lines of runs → their streams     lines that are not written yet
`pool`         executors: start, death, deadlines         processes; the runs in each one's inbox, by number
`resources`    limits of runs: cgroups, watchdog          which run with limits is in which executor
`loading`      versions: try, load, report, unload        the catalog of versions, the applied revision
`life`         heartbeat, epoch, scaling of executors     the worker's state, and what it knows of Redis' state
`server`       (`registry`) clients, outage, its clock    whether Redis is there
=============  =========================================  ======================================================

So a run that is claimed is in exactly one of: the backlog, the waiting list of a version, an executor's inbox, the
unconfirmed outcomes. `Supervisor.held` is their union, and that is what gets its lease renewed.

**A run's way, and what it costs.** No asyncio task, future or timer is made for a run. `claims` asks for as many runs as
there is room for; what comes back is dispatched in the same step. Deadlines need no heap: only the head of an inbox can be
late, so one timer at the earliest head's deadline is enough. Frames to an executor that are written in one turn of the loop
leave in one `send`; outcomes leave when the call before them has returned, so that batches grow with the load and a
lone run does not wait. Where enough for a batch have come meanwhile, they leave beside it: two calls may be under way, so that the server
is not idle while we read its answer. Outcomes that leave take a claim along if there is room by then (`ride`).

A batch is paid for once wherever that is possible: leases, registries and counters are changed by one command for all of its runs, what
outcomes have in common is sent once (`runs.recording`), and so are the event's text but for the run's id, and the statistics
(`runs.statistics`). What is left of a run at the server: HMGET and HSET at the claim; HSET, XADD and two EXPIRE at the outcome; XADD and
PUBLISH for the event. RQ's executions are written for runs that have been in progress for 100 ms, together with the version (`leases`):
nobody could have seen those of shorter ones. With ``events=all`` a start is told at the same moment, or together with the outcome of a
run that was shorter.

**The pointer.** A route is looked up in the snapshot at dispatch. A new version becomes visible there in one step, and only
in that step: what was sent before runs on the old one, what is sent after on the new one. LOAD goes down the same socket
before the first RUN of a version, so that an executor always loads before it runs.

**No stale start.** claim.lua returns the registry's revision. Is it ahead of the snapshot, `claims` waits for the
feed's catch-up before it dispatches what it claimed.

**A version that can't be loaded here** (`loading`): none of its runs is started. They go to the back of their queue with no
attempt burned. Claims that yielded nothing but such runs make the next one wait, up to a second, and take more at once: what stands
behind thousands of them is soon reached, and given back should there be no room for it. Queues take turns then, whatever their order:
the first one may hold nothing else. Once all that the queues hold has gone back that way, nothing but their lengths is asked for, until
one is another, or something has changed here, or a while has passed (`order`).

**Prefetch.** An executor holds one run. Only where runs of the same tasks were short of late (mean below 5 ms) may more stand
in its inbox: as many as make 80 ms of work, 256 at most, so that it does not run dry while a claim and the outcomes before it are
under way. What waits in an inbox here is out of reach of another worker that has nothing to do. So runs are claimed to wait there only
as long as the queues held more than could start, each time twice as many; and none to stand behind a slow head (`pool.behind`): a worker
whose executors all have one claims nothing. When a head turns out slow (four times what its task takes by the mean, 5 ms at least and
10 ms at most), those behind it are taken back by YIELD and given to an executor that is free. Is none, and will none be soon, they are
released to the front of the queue at once, for another worker; else a run stays in the backlog for 50 ms at most.

**Death of an executor.** Seen by its pidfd, or by the end of its channel, whichever is first. All that descends from it is
killed. The head of its inbox has crashed: one more loss, then front of the queue, or failed with reason `poison` at the third. Those
behind it had not begun: front of the queue, no attempt burned. If we killed it because the head was late, the outcome is
the deadline's. The process is replaced at once; one that dies before it said hello is replaced with backoff.

**Deadlines.** timeout: CANCEL and a signal that interrupts the task. Half of the grace later: SIGTERM to all descendants. At the
end of the grace: SIGKILL of the executor and every descendant. The lease is renewed throughout.

**Cancel.** cancel.lua marks the job of a run that is in progress, and tells its worker in two ways: by the control channel, and by a
hash that the worker reads with each heartbeat, so that a lost message costs one of them. The run goes down the ladder of its deadlines
and is recorded as cancelled; what has not begun is cancelled where it stands. Whoever gives a marked run back, this worker as it stops
or a sweeper after its death, ends it as cancelled in release.lua, so that it can't slip through between two owners.

**Stop.** SIGTERM, or `taskq drain` in the same two ways: claims stop, the backlog is released, DRAIN goes to each executor: it finishes
what it has begun, hands back the rest and exits. After the longest grace of what runs (10 s at least; `--grace` says otherwise) the
rest is cancelled, killed, and released with no attempt burned. A second signal does that at once. Outcomes are flushed, the report is
removed, exit 0.

**Redis away.** The first loop that notices closes the gate of `runtime.server`; one prober asks with backoff, everyone else
waits at the gate. Executors go on, their outcomes are held: beyond 2,000, or 64 MB of results, nothing more is claimed. Afterwards leases
are renewed before anything is swept: the sweeper acts only on what it saw late in two looks, at least a sweep apart, on an
unbroken connection, or late before the outage (`runs.suspects`). A server that is full (maxmemory) still takes outcomes and gives runs
(allow-oom), so that its queues drain; one that can't persist (MISCONF) refuses all of it, and outcomes are held until it can.

**Retry.** A failed attempt that its policy follows up is no outcome: release.lua records it and puts the run aside until the next one is
due, in RQ's scheduled registry and in the set of runs that are due later. The leading scheduler moves it to its queue; where none leads,
any worker's sweep does, so that a delay there is exact to one sweep. The next attempt is claimed as any run is: by any worker, on the
route of that moment.

**Logs.** An executor caps what a run may log, in lines and in bytes, so that a run without end costs nothing here. An outcome waits for the
lines of its own run. Lines are written in calls of at most 200; outcomes of runs that have more than that waiting go behind all others.

**A Redis without its state** (`life.epoch`). A lease that is not ours any more has been taken over: the run goes on elsewhere, and its
executor here is killed. Unless the epoch of Redis is another one: then nobody else has the run, it goes on, and its outcome is dropped.

**A loop that raises** is logged with its traceback and started again with backoff; it never ends unseen.

Deliberately absent: concurrency limits, rate limits, canaries. Their places are `runs.verdicts` (pure decisions about
outcomes), `dispatch` (before a run is sent) and `loading.routes` (which version a run gets).
"""
