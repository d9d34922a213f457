"""What a run may return and log, on real workers: F22, F23; and values of Python's types from end to end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
import redis as redis_py
from support import shapes
from support.fleet import Fleet
from support.tasks import FREE
from support.waiting import until

from taskq.producer import Client
from taskq.registry.code.parameters import parameters_of
from taskq.registry.effects import run_sync
from taskq.registry.runs.logs import LogLine, read_logs

HEAD = "import dataclasses, logging, os, sys, time\nfrom taskq.registry import task, TaskContext\n"
WITH_CONTEXT = {"parameters": {"json_schema": {"type": "object"}, "context": "ctx"}}
ANGRY = """
class Angry:
    def __repr__(self): raise RuntimeError("no")
    __str__ = __reduce__ = __getstate__ = __repr__
class Meta(type):
    @property
    def __name__(cls): raise RuntimeError("no")
class Worse(metaclass=Meta):
    pass
@dataclasses.dataclass
class Broken:
    x: int
    def __getattribute__(self, name):
        if name == "x": raise KeyError(name)
        return super().__getattribute__(name)
loop = []; loop.append(loop)
deep = []
for _ in range(100_000): deep = [deep]
"""


def logged(fleet: Fleet, run: str) -> list[LogLine]:
    return run_sync(read_logs(fleet.keys, run), fleet.redis)


@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        ("'x' * 100_000_000", "result_too_large", "more than 16777216 bytes"),
        ("['x' * 1_000_000] * 100", "result_too_large", "more than 16777216 bytes"),
        ("[str(n) for n in range(3_000_000)]", "result_too_large", "bytes"),
        ("object()", "result_not_serialisable", "object"),
        ("{1, 2}", "result_not_serialisable", "set"),
        ("2**64", "result_not_serialisable", "out of range"),
        ("'\\ud800'", "result_not_serialisable", "surrogates"),
        ("loop", "result_not_serialisable", "recursion limit"),
        ("deep", "result_not_serialisable", "recursion limit"),
        ("Angry()", "result_not_serialisable", "Angry"),
        ("[Angry()]", "result_not_serialisable", "Angry"),
        ("Broken(1)", "result_not_serialisable", "KeyError"),
        ("Worse()", None, ""),
    ],
)
def test_f22_a_result_that_can_not_be_stored_fails_the_run_once_and_the_worker_lives(
    fleet: Fleet, value: str, reason: str | None, words: str
) -> None:
    fleet.put("bad", HEAD + ANGRY + f"@task\ndef bad():\n    return {value}\n", **FREE, retry={"max": 3, "delay": 0.0})
    fleet.put("good", HEAD + "@task\ndef good():\n    return os.getpid()\n")
    worker = fleet.start(1)
    executors = [process.pid for process in worker.executors()]
    (run,) = fleet.enqueue("bad")
    found, error = fleet.failure(run)
    if reason is not None:
        assert (found, fleet.field(run, "attempt")) == (reason, "1")
        assert words in error
    assert fleet.result(*fleet.enqueue("good")) == executors[0]
    assert worker.process.poll() is None


def test_f22_a_result_that_is_far_too_large_is_not_copied(fleet: Fleet) -> None:
    fleet.put("huge", HEAD + "@task\ndef huge():\n    return ['x' * 1_000_000 for _ in range(100)]\n")
    worker = fleet.start(1)
    (executor,) = worker.executors()
    assert fleet.failure(*fleet.enqueue("huge"))[0] == "result_too_large"
    status = Path(f"/proc/{executor.pid}/status").read_text()
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 170_000_000  # its 100 MB and the process, not twice that


FLOODS = {
    "a million lines": "for n in range(1_000_000): print(n)",
    "100 MB at once": "sys.stdout.write('x' * 99 + '\\n'); sys.stdout.write(('y' * 999 + '\\n') * 100_000)",
    "100 MB of bytes": "sys.stdout.buffer.write((b'y' * 999 + b'\\n') * 100_000)",
    "records": "for n in range(100_000): logging.warning('line %d', n, extra={'n': n})",
}


@pytest.mark.parametrize("how", FLOODS.values(), ids=FLOODS)
def test_f23_a_run_that_logs_without_end_is_capped_and_other_runs_go_on(fleet: Fleet, tmp_path: Path, how: str) -> None:
    until_told = "    while not os.path.exists(path): print('more')\n"
    fleet.put("flood", HEAD + f"@task\ndef flood(path: str):\n    {how}\n{until_told}", **FREE)
    fleet.put("quick", HEAD + "@task\ndef quick():\n    print('hello')\n    return 1\n")
    worker = fleet.start(2)
    (flood,) = fleet.enqueue("flood", path=str(tmp_path / "enough"))
    until(lambda: any("what follows is dropped" in line["text"] for line in logged(fleet, flood)), 30, "the log is capped")
    others = fleet.enqueue("quick", 100)
    assert [fleet.result(run) for run in others] == [1] * 100
    assert [line["text"] for run in others for line in logged(fleet, run)] == ["hello"] * 100
    assert fleet.field(flood, "status") == "started"

    (tmp_path / "enough").touch()
    assert fleet.ended(flood, 60) == "finished"
    lines = logged(fleet, flood)
    assert len(lines) <= 10_100  # Redis trims by whole nodes
    assert sum(len(line["text"]) for line in lines) <= 4_300_000
    assert "more lines were dropped: the log of a run is limited to 10,000 lines and 4,194,304 bytes" in lines[-1]["text"]
    assert worker.process.poll() is None


def test_f23_the_caps_are_settings(fleet: Fleet) -> None:
    fleet.put("talk", HEAD + "@task\ndef talk(n: int):\n    for i in range(n): print('x' * 99)\n", **FREE)
    fleet.start(1, TASKQ_LOG_LINES="50", TASKQ_LOG_BYTES="2000")
    (few,) = fleet.enqueue("talk", n=20)
    fleet.result(few)
    assert len(logged(fleet, few)) == 20
    (many,) = fleet.enqueue("talk", n=1000)
    fleet.result(many)
    told = [line["text"] for line in logged(fleet, many)][20:]
    limit = "the log of a run is limited to 50 lines and 2,000 bytes"
    assert told == [f"… {limit}: what follows is dropped", f"… 980 more lines were dropped: {limit}"]


def test_records_keep_their_fields_their_logger_and_their_traceback(fleet: Fleet) -> None:
    text = """
class Odd:
    def __str__(self): raise RuntimeError("no")
@task
def talk(ctx: TaskContext):
    ctx.log.info("paid %s", 7, extra={"order": 7, "who": {"name": "A"}, "odd": Odd(), "big": 2**70})
    try: 1 / 0
    except ZeroDivisionError: logging.getLogger("shop.cart").exception("no division", extra={"step": 3})
    print("plain")
"""
    fleet.put("talk", HEAD + text, **WITH_CONTEXT)
    fleet.start(1)
    (run,) = fleet.enqueue("talk")
    fleet.result(run)
    first, second, third = logged(fleet, run)
    assert (first["level"], first["text"], first["logger"]) == ("INFO", "paid 7", None)
    assert first["fields"] == {"order": 7, "who": {"name": "A"}, "odd": "<Odd whose text raises RuntimeError>", "big": str(2**70)}
    assert (second["level"], second["logger"], second["fields"]) == ("ERROR", "shop.cart", {"step": 3})
    assert second["text"].startswith("no division\nTraceback")
    assert second["text"].endswith("ZeroDivisionError: division by zero")
    assert (third["text"], third["logger"], third["fields"]) == ("plain", None, {})
    ((_, stored),) = fleet.redis.xrange(fleet.keys.logs(run), count=1)
    assert json.loads(stored[b"fields"])["order"] == 7


# -- types, from end to end -----------------------------------------------------------------------------------
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_values_of_pythons_types_go_to_a_task_and_come_back(fleet: Fleet, redis: redis_py.Redis) -> None:
    fleet.put("shapes", Path(shapes.__file__).read_text(), parameters=parameters_of(shapes.shapes.function))
    fleet.start(1)
    # Enqueued by its name, and by the function itself.
    point = shapes.Point(Decimal("1.10"), NOON, shapes.Point(Decimal(2), NOON))
    row = shapes.Row(number=UUID(int=7), color=shapes.Color.RED)
    with Client(redis, settings=fleet.settings) as client:
        run = client.enqueue(
            "shapes",
            point=point,
            row=row,
            color=shapes.Color.RED,
            kind="a",
            raw=b"\xff",
            pair=(1, Decimal("0.1")),
            free=[NOON, UUID(int=1)],
        )
        result = run.wait(20)
        typed = client.enqueue(shapes.shapes, point=point, row=row, color="r", kind="b", raw="é", pair=[1, 2], free=None).wait(20)
    plain = {"x": Decimal("1.10"), "at": NOON, "before": {"x": Decimal(2), "at": NOON, "before": None}}
    assert result == [plain, {"number": UUID(int=7), "color": "r"}, "r", "a", b"\xff", [1, Decimal("0.1")], [NOON, UUID(int=1)]]
    assert typed == (point, row, shapes.Color.RED, "b", "é".encode(), (1, Decimal(2)), None)
