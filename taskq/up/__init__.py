"""Everything on one machine: ``taskq up``.

One process, the *keeper*, starts a Redis server, a scheduler and workers as its children, starts again what dies, and ends all of it.

- **Nothing is left behind.** Each child is in a session of its own, so that Ctrl-C reaches the keeper alone, which then
  stops the scheduler first (nothing new comes), then the workers (they drain), the server last. Each child dies with the
  keeper (``PR_SET_PDEATHSIG``), so that even a ``kill -9`` of it leaves no process. For the server that is safe: it runs with
  ``appendfsync always``.
- **One keeper a folder.** ``.taskq/`` (mode 0700) is held by a lock that ends with its holder; ``up.json`` only tells other
  commands where the server is, and that of a dead keeper is taken over.
- **No credential in arguments.** The server reads a 0600 file, the others get the URL by their environment.
- **The data stays.** The append-only file in ``.taskq/`` outlives the keeper; so does the generated password.

The keeper runs no task code and needs no Redis to go on: it watches processes, not health.
"""
