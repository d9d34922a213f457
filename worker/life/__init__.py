"""A worker's life: how it is started, what it says of itself, and what it notices of the world around it.

- `plan`: what it is started with.
- `namesake`: an earlier worker of its name must be gone.
- `heartbeat`: its report, RQ's worker hash and its health file, all by one round trip, which also brings what is asked of it.
- `epoch`: whether Redis still has the state that it has worked with.
- `scaling`: more executors while runs wait, fewer when some are idle.

Who stops what is in `taskq.worker.supervisor`: there the runs are.
"""
