"""The wire between a supervisor and its executors: one socketpair each, one schema of messages.

Why a protocol of our own over a socketpair and not pipes, pickles or `multiprocessing`: an executor runs code that we
don't trust to be well-behaved. What it sends is therefore parsed as data (msgpack, never pickle), bounded (a frame has a
limit on both sides), and only ever an *answer* to a number that the supervisor gave out: an executor can't name a run,
so it can't finish somebody else's. A socketpair has two ends and nothing else: when either process dies, in whatever
way, the other one reads end-of-file.

`protocol` is pure: it turns messages into bytes and back, and does no I/O, so that the asyncio supervisor and the
synchronous executor share it.
"""
