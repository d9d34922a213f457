"""`run`: parameters, waiting, keys and pins."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from redis import Redis
from support.hands import claim, finish, put_task, schema
from support.waiting import until

from taskq.cli.arguments import split_params
from taskq.producer import Client
from taskq.registry.errors import InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.model.spec import Spec

SPEC = Spec(parameters=schema(text={"type": "string"}, number={"type": "integer"}, tags={"type": "array"}))


@pytest.fixture(autouse=True)
def job(redis: Redis, keys: Keys) -> None:
    put_task(redis, keys, "job", spec=SPEC)


def test_words_are_texts_or_json() -> None:
    texts, values = split_params(("a=1.10", "b:=[1]", "c=x=y", "d=a:=b", "e="))
    assert texts == [("a", "1.10"), ("c", "x=y"), ("d", "a:=b"), ("e", "")]
    assert values == {"b": [1]}


@pytest.mark.parametrize("words", [("a",), ("=x",), (":=1",), ("a:={",), ("a=1", "a=2"), ("a=1", "a:=2")])
def test_a_word_that_says_no_parameter_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        split_params(words)


def test_run_prints_the_id_and_nothing_else_on_stdout(shell: Any, client: Client) -> None:
    result = shell("run", "job", "text=hello")
    assert client.run(result.stdout.strip()).status == "queued"
    assert f"taskq status {result.stdout.strip()}" in result.stderr


def test_values_get_the_declared_type(shell: Any, redis: Redis, keys: Keys) -> None:
    shell("run", "job", "text=1.10", "number=7", 'tags:=["a"]')
    shell("run", "job", "--args", '{"number": 1, "text": "base"}', "number=2")
    first, second = claim(redis, keys, 2)
    assert first.params == {"text": "1.10", "number": 7, "tags": ["a"]}
    assert second.params == {"number": 2, "text": "base"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["number=x"], "number"),
        (["unknown=1"], "takes text, number, tags"),
        (["number:=1.5"], "number"),
        (["--args", "[1]"], "JSON object"),
        (["tags:=["], "not JSON"),
    ],
)
def test_parameters_that_do_not_fit_are_exit_2(shell: Any, redis: Redis, keys: Keys, words: list[str], said: str) -> None:
    assert said in shell("run", "job", *words, code=2).stderr
    assert redis.llen(keys.rq_queue("default")) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["text=" + "x" * 2_000_000], "allowed are 1,048,576"),
        (["tags:=" + "[" * 10_000 + "]" * 10_000], "not JSON"),
        (["tags:=" + "[" * 200 + "]" * 200], "at most 100 levels"),
        (["tags:=[NaN]"], "must be finite"),
        (["tags:=[1e999]"], "must be finite"),
        (['text:="\\ud800"'], "lone surrogate"),
        (["text=\udcff"], "lone surrogate"),
        (["number:=9223372036854775809"], "allowed are -2^63 to 2^63-1"),
        (["number=9223372036854775809"], "allowed are -2^63 to 2^63-1"),
        (["number:=" + "9" * 5000], "not JSON"),
    ],
    ids=range(10),
)
def test_f21_values_that_can_not_be_stored_are_exit_2(shell: Any, redis: Redis, keys: Keys, words: list[str], said: str) -> None:
    stderr = shell("run", "job", *words, code=2).stderr
    assert said in stderr
    assert "Traceback" not in stderr
    assert len(stderr) < 600
    assert redis.llen(keys.rq_queue("default")) == 0


def test_the_document_of_a_run(shell: Any) -> None:
    document = shell.json("run", "job", "--key", "once")
    assert set(document) == {"run", "task", "version", "status", "deduplicated"}
    assert (document["task"], document["version"], document["status"], document["deduplicated"]) == ("job", None, "queued", False)
    again = shell.json("run", "job", "--key", "once")
    assert (again["run"], again["deduplicated"]) == (document["run"], True)
    assert shell.json("run", "job", "--pin")["version"] == 1
    assert shell.json("run", "job", "--version", "1")["version"] == 1
    assert "no version 9" in shell("run", "job", "--version", "9", code=3).stderr


def test_a_retired_task_is_exit_3(shell: Any, redis: Redis, keys: Keys) -> None:
    put_task(redis, keys, "old", state="retired")
    assert "retired" in shell("run", "old", code=3).stderr


def test_waiting_prints_the_result(shell: Any, worked: Any) -> None:
    worked({"sum": 5})
    assert json.loads(shell("run", "job", "--wait", "--timeout", "20s").stdout) == {"sum": 5}
    worked("plain text")
    assert shell("run", "job", "--wait").stdout == "plain text\n"
    worked(3)
    document = shell.json("run", "job", "--wait")
    assert (document["status"], document["result"], document["version"]) == ("succeeded", 3, 1)


def test_waiting_for_a_run_that_fails_is_exit_1_with_its_traceback(shell: Any, worked: Any) -> None:
    worked(reason="error", error="ValueError: boo", traceback="Traceback …\nValueError: boo")
    failed = shell("run", "job", "--wait", code=1)
    assert failed.stdout == ""
    assert "ValueError: boo" in failed.stderr
    assert "taskq logs" in failed.stderr
    worked(reason="timeout", error="too slow", traceback="too slow")
    document = shell.json("run", "job", "--wait", code=1)
    assert (document["status"], document["reason"]) == ("failed", "timeout")


def test_waiting_ends_in_time_and_the_run_goes_on(shell: Any) -> None:
    ended = shell("run", "job", "--wait", "--timeout", "50ms", code=1)
    assert "it goes on" in ended.stderr
    assert shell.json("run", "job", "--wait", "--timeout", "0.05", code=1)["status"] == "queued"


@pytest.fixture
def worked(redis: Redis, keys: Keys) -> Any:
    """A function that lets the next run end so, as a worker would."""
    threads = []

    def work(result: Any = None, **failure: str) -> None:
        def end() -> None:
            (run,) = until(lambda: claim(redis, keys), 20)
            finish(redis, keys, run, result, **failure)

        threads.append(threading.Thread(target=end))
        threads[-1].start()

    yield work
    for thread in threads:
        thread.join()
