"""A kit for your own tests: a whole fleet in the process of the test, with no server and no worker.

::

    from taskq.testing import Fleet
    from shop.tasks import send_mail

    def test_a_mail_is_sent(taskq_fleet: Fleet) -> None:
        assert taskq_fleet.run(send_mail, to="ada@example.org").result == "sent"

`Fleet` is what the fixture ``taskq_fleet`` gives (the pytest plug-in comes with ``pip install 'taskq-fleet[testing]'``);
without pytest ``with Fleet() as fleet:`` does the same. While one is open, each ``Client()``, ``AsyncClient()`` and
``Registry()`` in this process finds its server, which is fakeredis; each test has one of its own. A client that your code made
earlier, as it was imported, leads where it led before: put `Fleet.client` in its place.

**No second engine.** What a worker does is done by a worker's code, on this thread: the client validates and enqueues,
``claim.lua`` takes the run, the route chooses the version, the parameters are checked again, the executor's `execute` calls the
task's body, the table of verdicts judges, ``finish.lua`` records. So a run's document, log and attempts are those that a worker
would have left; the tests of this package compare the two. The scheduler is the scheduler, asked to act each time that the
clock is moved.

**What differs**, and is meant to: the code that runs is the very object that was given, not a copy loaded from a file, so that
your patches and breakpoints hold. What a run prints goes on to where it would have gone as well. `Fleet.run` raises what the
task raised. No process is killed: a task that swallows its stop goes on. Nothing runs by itself: runs wait until `Fleet.drain`,
or until somebody waits for one of them by ``run.wait()``.

**Time** passes as usual until it is moved (`Fleet.clock`); from then on it stands still in between, so that what is due at a
moment does not depend on how fast a test is. It is the time of the fleet: Redis' clock, due times, expiries, timeouts. Your own
calls of ``datetime.now()`` are left alone; time-machine and freezegun move these, and the fleet's time follows them until it is
moved itself.

**Async tests.** `Fleet` is not async, and need not be: a run that is executed while an event loop runs on this thread gets a
thread of its own, as it would get a process, and the loop waits for it.

Modules: `fleet` the face · `runner` runs, typed · `enqueued` what waits · `registration` which code is which version · `worker`
claim to verdict · `execution` one run on this thread · `faults` failures on purpose · `clock` time · `scheduling` what is due ·
`server` the fake server and who finds it · `plugin` pytest's fixtures. Importing this package imports none of them: a plug-in
is loaded by every pytest on the machine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskq.testing.clock import Clock
    from taskq.testing.fleet import Fleet
    from taskq.testing.runner import FleetRun

__all__ = ["Clock", "Fleet", "FleetRun"]

_HOMES = {"Clock": "clock", "Fleet": "fleet", "FleetRun": "runner"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
