"""The client side of each task queue: what enqueues, and reads results.

A queue whose dependencies don't go together with ours is spoken to by a program that runs with the Python of its own virtual
environment: ``python -m benchmarks.clients NAME URL`` (`speaker`), a line of JSON for each request and each answer. So nothing here
imports anything of the bench but its siblings, and each module imports one library alone. All times are taken in here, next to the
call that is timed: the way through the pipe belongs to no figure.
"""

from __future__ import annotations
