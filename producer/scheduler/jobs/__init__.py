"""The jobs of `FleetScheduler`: RQ jobs that are handed to their queues when they are due.

A job is RQ's own hash, written by RQ's own `Job` with the serializer of who made it. Beside it stand, written in the same MULTI,
its next time in a sorted set (`keys.scheduler_jobs`) and, where it repeats, a msgpack record of how (`keys.scheduler_repeats`).
Whoever moves jobs reads these two alone, so that it needs neither the job's classes nor pickle.

::

    enqueue_at, schedule, cron ──MULTI──▶ scheduled ──handover.lua──▶ in its queue, and scheduled for the next time or forgotten
                                          │       ▲
                                          │       └── retime.lua (change_execution_time)
                                          └── cancel, or its hash is gone ──▶ forgotten

`handover` is that step, over any connection; its `Mover` decides what is due, and `repeats` when it is due next. `duty` adds the lead
(`keys.scheduler_jobs_lease`). It is driven by two: `blocking` for a `FleetScheduler` that serves these jobs alone, over the connection that
it was made with, and `duty.Jobs` in the process of `taskq scheduler`. Both take the same lead, so that any number of both may run. The lead
spares work; that no time of a job is handed over twice holds without it, since the script compares the time and the record that were
read with those that are there.

`planning` writes and changes what is scheduled, `listing` reads it; `times` is what a datetime means, `tasks` what becomes of a task of
taskq.
"""
