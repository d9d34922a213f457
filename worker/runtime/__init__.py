"""What a long-running loop stands on: its life cycle, backoff, and Redis with its outages.

Nothing here knows of runs. `loop.Loop` is the one shape of everything that goes on for as long as the worker does;
`server.Server` is the one place that notices that Redis is away and the one that finds it again, so that an outage costs a
process at most two connection attempts a second however many loops it has.
"""
