"""Runs as people and programs see them: their creation, document, lists, logs, cancellation and retry by hand.

A run *is* an RQ job: one hash ``rq:job:<id>`` that holds RQ's fields and ours, changed by nothing but the scripts of
``lua/``. There is no second record that could disagree with it. What this package adds is reading and one way to make
runs:

- `statuses`: RQ's words for a status and ours.
- `creation`: ids, limits, and the one call of ``enqueue.lua``. The id is made before the call, so that a call that is
  sent twice (a lost reply) creates one run.
- `document`: the ``status`` document. An attempt that is over stands in a list; the last one is read off the job's hash,
  so that recording an outcome stays one write.
- `attempts`: the form of the records in that list.
- `index`: lists of runs from a sorted set, never by scanning the key space. Runs whose record has expired are skipped
  and taken out of the set. Those that failed or were cancelled are read from RQ's registries of them, and those that are due later
  from the set that decides when: so a few among a hundred thousand are found without a look at the others.
- `later`: runs that are due later, the first time or to be tried again, and who moves them.
- `retries`: failed and cancelled runs are queued once more.
- `stats`: what workers count by the minute, read back.
- `fields`: what a log record says besides its text, for the log of a run and for a worker's own.
- `logs`, `cancellation`: what a run printed; taking back a run.

Everything here is a generator of `taskq.registry.effects`: it never sees a connection, so that blocking and asyncio
programs share it.
"""
