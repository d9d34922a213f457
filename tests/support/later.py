"""A scheduler played by hand: it takes the lead and moves runs that are due."""

from __future__ import annotations

from redis import Redis

from taskq.registry import scripts
from taskq.registry.effects import run_sync
from taskq.registry.keys import Keys
from taskq.registry.runs.later import Moved, move_due

SCHEDULER = "hand"


def lead(redis: Redis, keys: Keys, who: str = SCHEDULER, lasts: int = 60_000) -> str:
    """Take the lead of the schedulers, from whoever has it; returns the lease's value."""
    redis.delete(keys.scheduler_lease)
    token = scripts.load("lead").call(redis, [keys.scheduler_lease, keys.fence], [who, "", lasts])[0].decode()
    return f"{token}|{who}"


def come_due(redis: Redis, keys: Keys, *runs: str) -> None:
    """Let the time of scheduled runs have come, as if they had been made so: in the order given."""
    for number, run in enumerate(runs):
        assert redis.zadd(keys.scheduler_runs, {run: number + 1}, xx=True, ch=True) == 1


def move(redis: Redis, keys: Keys, limit: int = 100, *, events: bool = False) -> Moved:
    """One turn of a scheduler that leads: move what is due."""
    moved = run_sync(move_due(keys, lead(redis, keys), limit, events=events), redis)
    assert moved.leads
    return moved
