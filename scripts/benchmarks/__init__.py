"""The benchmark: taskq beside other task queues, on one server configuration, in one run.

**What is compared.** Each peer runs as its makers ship it: ``taskq worker`` with its default settings (one executor a core),
``rq worker`` (which forks for each job), ``rq worker --worker-class rq.SimpleWorker`` (which does not). One worker is started,
as a user would. All keep their results, as all do by default. Where a peer has a choice that no user would miss, it gets the faster
one: RQ's workers run with ``--quiet``, and every worker writes its log to a file.

**The same for all.** Each measurement gets a server of its own, empty, on a Unix socket, with the same configuration; the client side is
this process; jobs are the same two: one that returns a constant, one that returns the time at which it started. The rounds are
interleaved (each repeat measures all peers), so that what else happens on the machine hits all of them. Figures are medians over
the repeats; the JSON has every single measurement, and how busy the machine was just before each.

**What is measured.**

``drain``
    N runs are enqueued first, then the worker is started. The figure is the number of runs by the time from the first recorded
    finish to the last, so that nobody's start-up counts; ``with start-up`` is the time from the start of the worker's process.
    The times are those at which the server recorded the results. Peers that are slower get fewer runs (`Peer.share`).
``enqueue``
    One by one (each call waits for its answer), and many in calls of 1,000. No worker runs meanwhile.
``latency``
    The worker is idle; one run is enqueued, random 10 to 50 ms after the end of the one before. From just before the call of
    ``enqueue`` to the first line of the task, both read from the machine's monotonic clock. ``round trip`` is until the result is read.
``convergence``
    taskq alone: four workers of one executor each; a changed task is registered. How long ``register`` takes; and from the
    commit that stages the version until each worker's record shows the switched route, as seen by asking every 5 ms.

**What is checked.** Each measurement fails, and the benchmark with it, unless exactly the runs that were enqueued have succeeded,
each with one result, and results read through the peer's own API are right.

**Append-only file.** ``always`` is what ``taskq up`` ships: a write is on disk before it is answered. ``no`` has no file at all.
What ``always`` costs depends on the disk: the JSON has the median time of an fsync in the folder that was used.

How it is built: `runner` goes through the plan; a measure (`drain`, `enqueue`, `latency`, `convergence`) is one module with one function
``measure``, a peer (`peers`) one module with one class. Nothing here but the peers imports a task queue, so that a peer whose
dependencies don't go together with ours can be measured from a virtual environment of its own.
"""
