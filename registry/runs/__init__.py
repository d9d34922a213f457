"""Runs as people and programs see them: their creation, document, lists, logs and cancellation.

A run *is* an RQ job: one hash ``rq:job:<id>`` that holds RQ's fields and ours, changed by nothing but the scripts of
``lua/``. There is no second record that could disagree with it. What this package adds is reading and one way to make
runs:

- `statuses`: RQ's words for a status and ours.
- `creation`: ids, limits, and the one call of ``enqueue.lua``. The id is made before the call, so that a call that is
  sent twice (a lost reply) creates one run.
- `document`: the ``status`` document. An attempt that is over stands in a list; the last one is read off the job's hash,
  so that recording an outcome stays one write.
- `index`: lists of runs from a sorted set, never by scanning the key space. Runs whose record has expired are skipped
  and taken out of the set.
- `logs`, `cancellation`: what a run printed; taking back a run that still waits.

Everything here is a generator of `taskq.registry.effects`: it never sees a connection, so that blocking and asyncio
programs share it.
"""
