"""Schedules: when a task is due, as pure functions of time.

A version's spec may hold ``every``, ``cron`` (with ``timezone``) and ``at``; each of them is one `Schedule`, and its `text` is
its identity: two versions with the same text have the same schedule, which goes on over a change of the code. A slot is
one firing time, in whole milliseconds since the epoch. Slots are functions of the schedule alone, never of when a process
was started or a run ended, so that nothing drifts and two schedulers mean the same slots.

Nothing here asks a clock or Redis.
"""
