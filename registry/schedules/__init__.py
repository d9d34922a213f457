"""Schedules: when a task is due, as pure functions of time.

A version's spec may hold ``every``, ``cron`` (with ``timezone``) and ``at``; each of them is one `Schedule`, and its `text` is
its identity: two versions with the same text have the same schedule, which goes on over a change of the code. A slot is
one firing time, in whole milliseconds since the epoch. Slots are functions of the schedule alone, never of when a process
was started or a run ended, so that nothing drifts and two schedulers mean the same slots.

``every`` means the multiples of its period since the epoch. ``cron`` means times on the wall of a zone (`wallclock`), whose clocks
are moved now and then:

- A time that they never show, as they are moved forward over it, fires when they are moved; several such times fire once.
- A time that they show twice fires at the first.
- An expression that names each hour (``*``) goes by the hour or oftener, and is not about a time of the day: it fires whenever the
  clocks show a time of it, and so goes on evenly. (Where clocks are moved by half an hour, its distance is once half an hour
  longer or shorter.) ``*/2`` is about certain times of the day, as ``0,2,4`` is: each of them fires once.

croniter reads expressions (`cron`), and does not walk: the days of a month depend on its length and first weekday alone, so
that the next slot is found in a few look-ups, also if it is years away, and an expression that never comes is known from
28 tables. The times on the wall are turned into moments here (`zone`), with nothing of a zone but its offset at a moment. What
lies in an interval is counted between the moves of the clocks, never slot by slot (`Schedule.count_between`).

What people may write is checked once, when a file is inspected (`options`, `moment`). A stored spec is read unchecked, since
one machine may know zones that another does not.

Nothing here asks a clock or Redis.
"""
