"""Broken code never takes over, and who registered it is told why."""

from __future__ import annotations

import pytest
from support.command import Command

GOOD = "from taskq import task\n@task\ndef job() -> str:\n    return 'good'\n"
BROKEN = {
    "syntax error": ("from taskq import task\n@task\ndef job(:\n", "SyntaxError"),
    "raises": (GOOD + "raise RuntimeError('at import')\n", "RuntimeError: at import"),
    "exits": (GOOD + "import os\nos._exit(3)\n", "exit"),
    "sleeps": (GOOD + "import time\ntime.sleep(60)\n", "timed out"),
}
# Fine where it is registered, broken on the workers: only they have the variable.
WORKER_ONLY = GOOD + "import os\nif os.environ.get('LC_BROKEN'):\n    {}\n"
ON_WORKERS = {
    "raises": ("raise RuntimeError('on the worker')", "RuntimeError: on the worker"),
    "exits": ("os._exit(3)", "exit"),
    "sleeps": ("import time; time.sleep(60)", "timed out"),
}


def still_good(taskq: Command) -> None:
    assert taskq.json("run", "job", "--wait", "--timeout", "20")["result"] == "good"
    rollout = taskq.json("rollout", "job")
    assert rollout["converged"] is True
    assert rollout["failure"]["errors"]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_with_its_cause_and_the_old_version_goes_on(taskq: Command, kind: str) -> None:
    text, cause = BROKEN[kind]
    taskq.environ["TASKQ_LOAD_TIMEOUT"] = "3"
    with taskq.workers(1) as (worker,):
        taskq("register", str(taskq.write("job.py", GOOD)))
        refused = taskq("register", str(taskq.write("job.py", text)), code=1)
        assert cause in refused.stderr
        still_good(taskq)
        assert worker.poll() is None


@pytest.mark.parametrize("kind", ON_WORKERS)
def test_a_version_that_breaks_only_on_the_workers_is_not_switched_to(taskq: Command, kind: str) -> None:
    statement, cause = ON_WORKERS[kind]
    with taskq.workers(1, LC_BROKEN="1", TASKQ_LOAD_TIMEOUT="3") as (worker,):
        taskq("register", str(taskq.write("job.py", GOOD)))
        refused = taskq("register", str(taskq.write("job.py", WORKER_ONLY.format(statement))), code=1)
        assert cause in refused.stderr
        assert "w0" in refused.stderr
        still_good(taskq)
        assert worker.poll() is None
