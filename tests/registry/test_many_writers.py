"""Many writers at once: no lost update, one order of revisions without gaps."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from taskq.registry.changes.registry import Registry
from taskq.registry.errors import Conflict
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings

# Registers without an inspection: what is under test is the commit.
SCRIPT = """
import sys
from taskq.registry.changes.desk import Desk
from taskq.registry.changes.plan import Demands, Wanted
from taskq.registry.changes.register import Order, _release
from taskq.registry.changes.rollout import Manner
from taskq.registry.code.artifact import digest_of, store_artifact
from taskq.registry.connect import connect
from taskq.registry.effects import run_sync
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec
from taskq.registry.settings import Settings

task, text = sys.argv[1:]
settings = Settings.load()
with connect(settings) as redis:
    desk = Desk(redis, Keys(settings.namespace, settings.rq_prefix), settings, "writer")
    sys.stdin.read()  # until all are ready
    digest = desk.perform(store_artifact(desk.keys, text.encode()))
    wanted = Wanted(task, digest, task, "job.py", "mine", Spec())
    document, = _release(desk, [wanted], Order(Demands(), Manner("registered", 30.0)))
    print(document["version"], document["state"])
"""


def spread(settings: Settings, orders: list[tuple[str, str]]) -> list[tuple[int, str]]:
    """So many processes, let go at one moment; version and state of each."""
    environ = {"TASKQ_REDIS_URL": str(settings.redis_url), "PATH": "/usr/bin:/bin"}
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, *order], stdin=pipe, stdout=pipe, stderr=pipe, env=environ, text=True)
        for order in orders
    ]
    with ThreadPoolExecutor(len(processes)) as pool:
        outcomes = list(pool.map(lambda process: (*process.communicate(timeout=100), process.returncode), processes))
    assert [error for _, error, code in outcomes if code] == []
    return [(int(out.split()[0]), out.split()[1]) for out, _, _ in outcomes]


def unbroken(redis: Redis, keys: Keys) -> int:
    """The revision, once it is sure that the change log has each one up to it."""
    revision = int(redis.get(keys.revision) or 0)
    assert [int(entry[0].split(b"-")[0]) for entry in redis.xrange(keys.changelog)] == list(range(1, revision + 1))
    return revision


@pytest.mark.timeout(240)
def test_fifty_processes_register_different_tasks_and_different_content(settings: Settings, redis: Redis, keys: Keys) -> None:
    orders = [(f"task{number}", "x") for number in range(50)] + [("contested", f"content {number}") for number in range(50)]
    outcomes = spread(settings, orders)
    assert {state for _, state in outcomes} == {"active"}
    assert sorted(version for version, _ in outcomes[50:]) == list(range(1, 51))
    assert unbroken(redis, keys) == 100
    with Registry(settings=settings) as registry:
        assert len(registry.list()) == 51
        history = registry.history("contested")
        assert len({row["digest"] for row in history}) == 50
        last = registry.audit("contested", 1)[0]["tasks"][0]
        assert registry.show("contested")["stable"] == last["version"]


@pytest.mark.timeout(240)
def test_fifty_processes_that_register_the_same_content_all_succeed_with_one_version(settings: Settings, redis: Redis, keys: Keys) -> None:
    outcomes = spread(settings, [("job", "same")] * 50)
    assert {version for version, _ in outcomes} == {1}
    assert sorted(state for _, state in outcomes) == ["active"] + ["unchanged"] * 49
    assert unbroken(redis, keys) == 1


def test_of_many_that_demand_one_version_one_wins(settings: Settings, redis: Redis, keys: Keys) -> None:
    def register(number: int) -> bool:
        source = f"from taskq import task\n@task\ndef job():\n    return {number}\n".encode()
        with Registry(settings=settings) as registry:
            try:
                registry.register_source("job.py", source, if_version=0)
            except Conflict:
                return False
            return True

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(register, range(6))) == [False] * 5 + [True]
    assert unbroken(redis, keys) == 1
