"""Lines of a log as they are read back."""

from __future__ import annotations

import pytest
from redis import Redis

from taskq.registry.effects import run_sync
from taskq.registry.keys import Keys
from taskq.registry.runs.logs import last_logs, read_logs


@pytest.mark.parametrize("at", ["1e300", "-1e300", "inf", "nan", "yesterday"])
def test_a_line_that_says_no_time_is_read_all_the_same(redis: Redis, keys: Keys, at: str) -> None:
    redis.xadd(keys.logs("r1"), {"at": at, "level": "INFO", "text": "one"})
    redis.xadd(keys.logs("r1"), {"at": "1700000000.5", "level": "INFO", "text": "two"})

    lines = run_sync(read_logs(keys, "r1"), redis)
    assert [(line["text"], line["at"]) for line in lines] == [("one", None), ("two", "2023-11-14T22:13:20.500+00:00")]
    assert run_sync(last_logs(keys, "r1", 2), redis) == lines


@pytest.mark.parametrize("fields", ["{", "[1]", "[" * 100_000, "\udcff".encode(errors="surrogateescape")])
def test_fields_that_are_no_object_are_none(redis: Redis, keys: Keys, fields: str | bytes) -> None:
    redis.xadd(keys.logs("r1"), {"at": "1.0", "level": "INFO", "text": "one", "fields": fields})

    (line,) = run_sync(read_logs(keys, "r1"), redis)
    assert (line["text"], line["fields"]) == ("one", {})
