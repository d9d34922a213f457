"""What a long-running process stands on, worker and scheduler alike: life cycle of its loops, backoff, Redis with its outages.

Nothing here knows of runs or slots. `loop.Loop` is the one shape of everything that goes on for as long as the process
does; `server.Server` is the one place that notices that Redis is away and the one that finds it again, so that an outage costs
a process at most two connection attempts a second however many loops it has; `spacing` keeps a client's attempts as far apart.
`process` is what each of them does about itself (its name, its memory), `signals` how it ends, `health` the file that says that it is
well, `schedulers` tells which schedulers there are, by what they report.

What is sent most often goes around what redis-py does for each command: `asking` (asyncio) and `direct` (blocking) keep a connection
for it, `packing` packs commands in C. `faults` are points at which tests have a process die.
"""
