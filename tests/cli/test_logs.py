"""The log of a worker's and a scheduler's process, and what `taskq logs` shows of a run's."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis
from support import hands
from support.command import environment
from support.waiting import until

from taskq.cli import logs
from taskq.producer import Client
from taskq.registry.keys import Keys
from taskq.registry.settings import Settings
from taskq.worker.runs.lines import log_args, log_lines


class Angry:
    def __str__(self) -> str:
        raise RuntimeError("no")


def record(message: str, *args: object, exc: bool = False, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("taskq.worker").makeRecord("taskq.worker", logging.INFO, __file__, 1, message, args, None, extra=extra)
    if exc:
        try:
            raise ValueError("bad")
        except ValueError:
            made.exc_info = sys.exc_info()
    return made


def test_a_line_of_text_can_not_speak_to_the_terminal() -> None:
    line = logs.TextLines().format(record("run %s is cancelled: %s", "r1", "\x1b[2J\x9b wrong\u202e region"))
    assert line.endswith(" INFO run r1 is cancelled: \\x1b[2J\\x9b wrong\\u202e region")


def test_a_json_line_holds_what_is_known_of_the_process_and_the_records_fields() -> None:
    formatter = logs.JsonLines({"worker": "w1"})
    line = formatter.format(record("run %s is\nput back", "r1", exc=True, run="r1", task="t", version=3, odd=Angry(), at="x"))
    assert "\n" not in line
    document = json.loads(line)
    assert document["at"].endswith("+00:00")
    assert document.pop("error").endswith("ValueError: bad")
    assert {name: value for name, value in document.items() if name != "at"} == {
        "level": "INFO", "logger": "taskq.worker", "message": "run r1 is\nput back", "worker": "w1", "run": "r1", "task": "t", "version": 3,
        "odd": "<Angry whose text raises RuntimeError>",
    }  # fmt: skip


@pytest.mark.parametrize(("form", "is_json"), [("auto", True), ("json", True), ("text", False)])
def test_a_worker_logs_json_where_there_is_no_terminal(settings: Settings, form: str, is_json: bool) -> None:
    words = [sys.executable, "-m", "taskq", "worker", "--burst", "--executors", "1", "--name", "w1", "--log-format", form]
    lines = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60, env=environment(settings)).stderr.splitlines()
    assert lines
    if is_json:
        assert {json.loads(line)["worker"] for line in lines} == {"w1"}
    else:
        assert all(line[:2] == "20" for line in lines)


LINES = [
    [1_780_000_000.0, "STDOUT", "one"],
    [1_780_000_001.0, "INFO", "two", {"logger": "shop", "fields": {"order": 7, "who": "A B", "tags": ["x"]}}],
    [1_780_000_002.0, "ERROR", "three\nTraceback …\nValueError: bad", {"fields": {"n": None}}],
    ["nonsense"],
]


def write(redis: Redis, keys: Keys, settings: Settings, run: str, lines: Any) -> None:
    names, args = log_args({run: list(log_lines(lines))}, keys, settings)
    from_lua = hands.scripts.load("log")
    from_lua.call(redis, names, args)


def test_fields_of_records_are_shown_beside_the_message(shell: Any, redis: Redis, keys: Keys, settings: Settings) -> None:
    write(redis, keys, settings, "r1", LINES)
    shown = shell("logs", "r1").stdout.splitlines()
    assert [line[9:] for line in shown[:3]] == [
        "STDOUT  one",
        'INFO    two logger=shop order=7 who="A B" tags=["x"]',
        "ERROR   three n=null",
    ]
    assert shown[3:] == ["Traceback …", "ValueError: bad"]
    documents = [json.loads(line) for line in shell("logs", "r1", "--json").stdout.splitlines()]
    assert [(each["text"][:5], each["logger"], each["fields"]) for each in documents] == [
        ("one", None, {}),
        ("two", "shop", {"order": 7, "who": "A B", "tags": ["x"]}),
        ("three", None, {"n": None}),
    ]
    assert redis.ttl(keys.logs("r1")) > 80_000


def test_a_line_can_not_speak_to_the_terminal(shell: Any, redis: Redis, keys: Keys, settings: Settings) -> None:
    write(redis, keys, settings, "r1", [[1.0, "INFO", "\x1b[2Jhi", {"logger": "\x1b]0;x", "fields": {"\x1b": "\x1b[31m"}}]])
    assert "\x1b" not in shell("logs", "r1").stdout


def test_tail_shows_the_last_lines(shell: Any, redis: Redis, keys: Keys, settings: Settings) -> None:
    write(redis, keys, settings, "r1", [[float(n), "STDOUT", f"line {n}"] for n in range(30)])
    assert [line.split()[-1] for line in shell("logs", "--tail", "3", "r1").stdout.splitlines()] == ["27", "28", "29"]
    assert len(shell("logs", "--tail", "100", "r1").stdout.splitlines()) == 30
    assert shell("logs", "--tail", "0", "r1").stdout == ""


ALL = ["one", "two", "three"]


@pytest.mark.parametrize(("tail", "expected"), [((), ALL), (("--tail", "0"), ALL[1:]), (("--tail", "1"), ALL)])
def test_a_queued_run_is_followed_until_it_ends(
    settings: Settings, redis: Redis, keys: Keys, client: Client, tail: tuple[str, ...], expected: list[str]
) -> None:
    hands.put_task(redis, keys, "job")
    run = client.enqueue("job")
    write(redis, keys, settings, run.id, [[1.0, "STDOUT", "one"]])
    words = [sys.executable, "-m", "taskq", "logs", "-f", *tail, run.id, "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment(settings)) as follower, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: [json.loads(line)["text"] for line in follower.stdout or ()])
        until(lambda: any(client["cmd"] == "xread" for client in redis.client_list()))
        (claimed,) = hands.claim(redis, keys)
        write(redis, keys, settings, run.id, [[2.0, "STDOUT", "two"]])
        write(redis, keys, settings, run.id, [[3.0, "STDOUT", "three"]])
        assert not reading.done()
        hands.finish(redis, keys, claimed)
        assert reading.result(20) == expected
        assert follower.wait(20) == 0


def test_the_log_of_a_run_whose_record_has_expired_can_still_be_read(shell: Any, redis: Redis, keys: Keys, settings: Settings) -> None:
    write(redis, keys, settings, "r1", LINES)
    assert len(shell("logs", "-f", "r1", "--json").stdout.splitlines()) == 3
    assert "no run r2" in shell("logs", "r2", code=3).stderr
