"""RQ's words for a status and ours."""

from __future__ import annotations

import pytest
from rq.job import JobStatus

from taskq.registry.errors import InvalidInput
from taskq.registry.runs.statuses import STATUSES, check_status, from_rq


def test_each_status_of_rq_has_one_of_ours() -> None:
    expected = {
        "created": "waiting", "queued": "queued", "finished": "succeeded", "failed": "failed", "started": "running",
        "deferred": "waiting", "scheduled": "scheduled", "stopped": "failed", "canceled": "cancelled",
    }  # fmt: skip
    found = {status.value: from_rq(status.value) for status in JobStatus}
    assert {name: found[name] for name in expected} == expected
    assert set(found.values()) <= set(STATUSES)


def test_a_scheduled_run_that_was_tried_is_retrying() -> None:
    assert from_rq("scheduled", 1) == "retrying"


def test_a_status_that_is_none_is_refused() -> None:
    assert [check_status(status) for status in STATUSES] == list(STATUSES)
    with pytest.raises(InvalidInput, match="'finished' is not one of scheduled, queued"):
        check_status("finished")
