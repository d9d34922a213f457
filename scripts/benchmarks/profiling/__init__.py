"""Where each microsecond of a no-op run goes: ``scripts/bench profile``.

A queue is filled, a worker drains it, and two windows of the drain are looked at. In the first one nothing disturbs: the CPU time of each
process (the server, the worker's supervisor, its executors) by the runs that ended in it, and what the server itself says of its commands
(``INFO commandstats``). In the second one a sampling profiler (py-spy, in an environment of its own) looks at the worker's processes; a
process's CPU time of the first window is divided in proportion to its samples, by the innermost function of ours that was on the stack.

The server's time by command is less than its CPU time: the rest is what reading, writing and its event loop take.
"""

from __future__ import annotations
