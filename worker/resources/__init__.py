"""Limits of resources: a run of a task with ``resources`` gets no more memory, processes and CPU than its spec says.

**What counts** is what the run uses itself. An executor has a base: the interpreter, the modules of all versions that it has loaded,
what earlier runs left in its memory, its own threads. The base is measured when the run is sent, and the limit is set so much above it:
``memory`` limits what is added (by the executor and by all that the run starts together; memory backed by files can be taken back at any
time and does not count), ``pids`` the processes and threads that are added, ``cpu`` the share of all of them. An import counts only where
it happens for this very run, since its version was not loaded ahead.

**Who holds it** is chosen once, when the worker starts (`choice`), and told: in the log, in the worker's report, by `taskq doctor`.

=============  =====================================  ===================  =====================  ==================================
backend        where                                  ``memory``           ``pids``               ``cpu``
=============  =====================================  ===================  =====================  ==================================
`v2`           a writable group with memory and pids  the kernel           the kernel             the kernel, where it has it
               that we may hand down
`v1`           writable groups for memory and pids    the kernel           the kernel             the kernel, where it has it
`watchdog`     everywhere else                        a look each 100 ms,  a look each 100 ms,    not at all, and that is said
                                                      SIGKILL              SIGKILL
=============  =====================================  ===================  =====================  ==================================

**Alone.** A run with limits is alone in its executor (`pool.seating`): what two runs use together could not be told apart, and a kill
would hit both.

**A cell for each executor**, not for each run. To move a process between control groups waits for a grace period of the kernel, 15 to 20 ms
here, and the supervisor is one thread. So an executor is moved once, ahead of its first run with limits (a successor of one that died: on a
thread, before it takes its seat), and stays. A run then costs a few writes of files: limits before it is sent, ``max`` when it has ended.
A group a run would also leave a dead group in the kernel for each run whose executor still holds a page of it. What is charged to the
group between runs is part of the next base.

**The end of a run.** What it started and left behind is killed, ``setsid`` or not: it is found by its group, and with the limit of pids at
0 it can't fork any more. What stood there before the run began stays (a daemon of a task without limits).

**Above the limit.** ``memory``: the kernel kills the largest process in the group. If that is the executor, the run fails with the
reason ``oom`` (`Run.breach`, `runs.verdicts`), which a retry policy retries like an error, and which counts as no loss. If it is a child,
the run sees that, and goes on. The watchdog kills the executor in either case. ``pids``: a fork fails with EAGAIN in the run; the
watchdog can't have it fail, and kills the run with the reason ``killed``.

**Names and litter.** ``<our group>/taskq-<pid>-<worker>/<pid of the executor>``: inside of our own group, so that whatever limits the
container or the unit has stays above ours. They are removed when executor and worker end. What a killed worker left is removed by
the next one in the same group: the name says whether its owner lives.

**Runs without limits** are not held to anything, but the kernel is told to prefer executors should the machine run out of memory
(`kernel.offer`): the supervisor and whatever else runs there stay, the run counts one loss.

Deliberately absent: RLIMIT_NPROC (it counts all of the user's processes), RLIMIT_AS (it counts what is mapped, not what is used), limits
for a worker as a whole (the container's, the unit's), and isolation: these limits are for mistakes; code of the same user can leave
its group.
"""
