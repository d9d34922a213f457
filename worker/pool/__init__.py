"""Executors as the supervisor sees them.

- `inbox`: what an executor was asked and has not answered, by number, in order, and how far each request is.
- `handle`: one executor: its process, its channel, the versions it has. What it says is looked up by number in *its own* inbox and
  nowhere else.
- `deadlines`: which request in progress is late, and the ladder from asking to SIGKILL.
- `seats`: N seats, each with a handle that is replaced when it dies, or is worn out (`recycling`); more and fewer of them.
- `pool`: all executors: those in seats, those on trial, and a standby.
- `seating`: which executor gets a run, and how many more there is room for. `behind`: whether runs may wait behind what one works on.

A request begins once those ahead of it have begun and nothing in progress is in its way: an executor does one thing after the other,
or many runs of async and threaded tasks at once (`taskq.worker.link.lanes`, by which both sides go). The handle knows what began
from what was sent and answered, well enough for deadlines. Once the executor is dead, it knows it exactly, from the page that they
shared (`taskq.worker.link.page`): what was in progress alone has crashed it; what had begun beside others, or had ended and not been
answered, is recorded and counts as no loss; what had not begun goes back as if nothing had been.
"""
