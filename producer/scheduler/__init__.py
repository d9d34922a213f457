"""The scheduler: puts runs on queues when they are due. One process leads, others stand by.

::

    registry ──feed──▶ Snapshot ──▶ calendar ──▶ what differs ──reschedule.lua──▶ due slots (zset)
                                        │                                             │
                                     rules                                     upcoming.lua
                                        └──────────▶ decisions ◀──────────────────────┘
                                                         │ steps
                                                         ▼
                          runs due later ──due.lua──▶ queues ◀──slot.lua── run, queue, next slot, state: one step

**What stands in Redis.** `Keys.scheduler_due`: schedule → its due slot, ``inf`` where none is left (it stays, so that a
schedule that has fired is known to have). `Keys.scheduler_state`: schedule → `ScheduleState`. A schedule is ``<task>|<its text>``:
one whose text stays the same over a change of the task keeps its slot; a new one begins with the first slot after the change
that brought it, even if no scheduler ran at that time. The change that ends a schedule removes slot and state itself
(`registry.changes.commit`), so that one which comes back before a scheduler has looked fires no slot of the time between.

**Why nothing is lost.** A slot is due until slot.lua has settled it, and that creates the run, queues it and writes the next slot in one
step. Killed before it, the next leader finds the slot still due; killed after it, finds the next one. A lost reply is no
answer: what stands in Redis is read again.

**Why nothing is doubled.** slot.lua takes a step only if the lease is ours, the registry's revision is the one that was
decided against, and slot and state are those that it was decided for. A step that is sent twice is refused (``gone``), and so
is all that a leader writes after its lease was lost, be it woken from a stop of hours. Beneath that, the run's id is a hash of
task, schedule and slot.

**Why a change is obeyed at once.** A change moves the revision, so that each slot that was decided before is refused
(``moved``), the snapshot is brought up to date and the slot decided again: no slot of a schedule that was changed, paused or
retired fires after that change. reschedule.lua compares the revision as well: who gets the lead with an old snapshot, woken from a stop,
would remove schedules that came meanwhile, and with them what is known of their slots.

**What becomes of a slot** (`decisions`): it fires, or it is counted as a misfire. Up to ``misfire_after`` late each slot fires, in
order; of later ones ``once`` fires the newest, ``skip`` none, ``all`` each. While the task is paused none fires: ``once`` holds the
newest back until the task is resumed, ``skip`` drops them, ``all`` makes their runs, which the workers put aside. With
``overlap="skip"`` no slot fires while the run of the last one has not ended.

**The clock** is Redis'. upcoming.lua says what is due and what time it is; slot.lua refuses what is not due yet (``early``).
This machine's clock only measures how long to sleep until the next due time, from the moment at which Redis was asked.

**The lead** (`leadership`), one lease a duty::

                     lead.lua: nobody leads             ┌── lead.lua, each third of the lease
    standby ───────────────────────────────────▶ leader ◀──┘
       ▲                                          │  │
       └── lead.lua says that another one leads, ─┘  │ SIGTERM, SIGINT: the tick ends, resign.lua frees the
           any other script says ``lost``            │ lease and wakes the others
                                                     ▼
                                                   ended

- standby → leader: at the lease's end, or when a leader resigns; so within two leases of a ``kill -9``.
- leader → standby: only told by Redis. What it writes until then is refused by the scripts, not by its own belief.
- An outage of Redis changes nothing by itself: is the lease still there afterwards, the leader goes on.

=============  ============================================  =================================================
module         does                                          owns
=============  ============================================  =================================================
`leadership`   takes, renews and gives up the lead           the token
`calendar`     which schedules the registry asks for; pure   a cache of them
`decisions`    what becomes of slots that are due; pure      nothing
`firing`       reads due slots, takes the steps              which schedules hold a slot
`ticker`       aligns, fires, moves delayed runs: `Ticker`   which schedules stand in Redis
`process`      the loops around a ticker, signals            when to tick
`reports`      what each scheduler says of itself            nothing
`listing`      what `taskq schedules` shows                  nothing
=============  ============================================  =================================================

What a ticker remembers of Redis only saves reading: with each new lead, after each outage and after each answer that it had not
expected it reads all of it again.

**Without a process**: `SoloScheduler(keys, settings).run_due()` is an operation (`taskq.registry.effects`) that does everything
that is due by the server's clock and returns when the next thing is due, in ms since the epoch, or None::

    scheduler = SoloScheduler(keys, settings)
    following = run_sync(scheduler.run_due(), redis)

Tests that move the server's clock (fakeredis) call it after each move; it is the same code as in the process.

`fleet` and what it stands on serve RQ jobs made by rq-scheduler's methods: a duty of its own, with a lease of its own.

Deliberately absent: an order between schedules, a limit of runs a slot, and any wait for workers: a slot's run is queued whether or not
somebody serves the queue.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.producer.scheduler.fleet import FleetScheduler
    from taskq.producer.scheduler.ticker import SoloScheduler

_HOMES = {"FleetScheduler": "taskq.producer.scheduler.fleet", "SoloScheduler": "taskq.producer.scheduler.ticker"}
__all__ = ["FleetScheduler", "SoloScheduler"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
