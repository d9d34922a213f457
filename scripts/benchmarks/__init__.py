"""The benchmark: taskq beside other task queues, on one server configuration, in one run.

**What is compared.** Each peer runs as its makers ship it, and a second time as its documentation says that it is faster (``…-tuned``);
what stores no results, by default or by choice, is a row of its own, since only its drain can be compared. taskq runs as it is shipped:
events, stats, logs and leases on. One worker is started, as a user would, and writes its log to a file; ``how workers were started``
below the tables has the command of each. Where a peer has a choice that no user would miss, it gets the faster one (RQ's ``--quiet``, a
Unix socket, hiredis).

**The same for all.** Each measurement gets a server of its own, empty, on a Unix socket, with the same configuration; jobs are the same:
one that returns a constant, one that returns the time at which it started, two that wait for 10 ms, blocking and as a coroutine. The
rounds are interleaved (each repeat measures all peers), so that what else happens on the machine hits all of them. Figures are medians
over the repeats; the JSON has every single measurement, and how busy the machine was just before each.

**What is measured** by a run that names nothing.

``drain``
    N runs are enqueued first, then the worker is started. The figure is the rate from the first look that saw an end until all had
    ended, so that nobody's start-up counts; ``with start-up`` is from the start of the worker's process. Every 10 ms the bench looks
    how many have ended, by one command of the server that fits the peer. Peers that are slower get fewer runs (`Peer.share`).
``enqueue``
    One by one (each call waits for its answer), and many in calls of 1,000, as the library does it best. No worker runs meanwhile.
``latency``
    The worker is idle; one run is enqueued, random 10 to 50 ms after the end of the one before. From just before the call of
    ``enqueue`` to the first line of the task, both read from the machine's monotonic clock. ``round trip`` is until the result is read.
``idle``
    The proportional set size of all the worker's processes (``smaps_rollup``), 5 s after it has executed 30 runs.
``threads`` and ``async``
    1,000 runs that wait for 10 ms each, on an idle worker whose slots have all been filled once: 16 slots for those that block (threads or
    processes, as the peer can), 500 for coroutines. From the call of ``enqueue`` until the last one's end.
``convergence``
    taskq alone: four workers of one executor each; a changed task is registered. How long ``register`` takes; and from the
    commit that stages the version until each worker's record shows the switched route, as seen by asking every 5 ms.

**What is measured where it is named** (``--only``), of taskq alone.

``mix``
    100 runs a second for two workers of two executors, 1 % of which take a second: how long the others wait for their start, those
    that were enqueued while a slot was free apart from all.
``swaps`` and ``promotes``
    A queue is kept filled and drained; 100 changes of the task in 60 s. The throughput without and with them, failed runs, and by how
    much the latest start of replaced code was late (a run that was claimed just before a change starts just after it). ``swaps``
    registers new code each time; ``promotes`` goes to and fro between two versions.
``million``
    1,000,000 runs whose results are kept for 5 s: the worker's memory from the second tenth to the last, the server's before and after,
    and the keys of runs that are left in the end.
``outage``
    Redis is shut down for 30 s under 200 runs a second; a socket in its place counts who knocks. Attempts a second of each process,
    processes that exit, acknowledged runs that are lost, and how long until the full rate is back.

**Where the time goes**: ``scripts/bench profile`` (`benchmarks.profiling`).

**What is checked.** Each measurement fails, and the benchmark with it, unless exactly the runs that were enqueued have ended, and the
results that are read through the peer's own API are right: of taskq and RQ some, beside the records of all; of the others all of a drain,
but of streaq some 50. Of a row that stores no results only that its runs have left the queue is known.

**Append-only file.** ``always`` is what ``taskq up`` ships: a write is on disk before it is answered. ``no`` has no file at all.
What ``always`` costs depends on the disk: the JSON has the median time of an fsync in the folder that was used.

How it is built: `runner` goes through the plan; a measure (`measures`) is one module with one function, a peer (`peers`) one class. A
peer whose dependencies don't go together with ours has a virtual environment of its own, made when it is first needed; its worker runs
there, and so does a small client program (`clients`) to which the bench speaks in lines of JSON. `report` makes the tables, and the marks
that taskq wants to reach beside the best of the others.
"""
