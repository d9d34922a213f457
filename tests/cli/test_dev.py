"""`dev`: a task in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = """
from datetime import date
from taskq import Task, TaskContext, task

@task
def add(a: int, b: int = 2) -> dict:
    print("adding")
    return {"sum": a + b}

@task(name="day")
async def day(ctx: TaskContext, when: date) -> str:
    assert TaskContext.current() is ctx
    return f"{ctx.task} {when.year}"

@task
def fail() -> None:
    raise ValueError("boo")

class Import(Task):
    def execute(self, n: int = 1) -> list:
        return [n, self.ctx.run]
"""


@pytest.fixture
def file(tmp_path: Path, shell: Any) -> Iterator[str]:
    (tmp_path / "tasks.py").write_text(SOURCE)
    before = list(sys.path)
    yield "tasks.py"
    sys.path[:] = before


def test_a_task_runs_here_and_its_result_is_printed(shell: Any, file: str) -> None:
    assert shell("dev", file, "add", "a=3").stdout == 'adding\n{\n  "sum": 5\n}\n'
    assert shell("dev", file, "day", "when=2026-11-22").stdout == "day 2026\n"
    assert json.loads(shell("dev", file, "import", "n=4").stdout) == [4, "dev"]


def test_with_json_only_the_document_is_on_stdout(shell: Any, file: str) -> None:
    result = shell("dev", file, "add", "--args", '{"a": 1}', "b:=1", "--json")
    assert json.loads(result.stdout) == {"task": "add", "result": {"sum": 2}}
    assert "adding" in result.stderr


def test_a_failure_shows_the_frames_of_the_task_alone(shell: Any, file: str) -> None:
    failed = shell("dev", file, "fail", code=1)
    assert 'raise ValueError("boo")' in failed.stderr
    assert "commands/dev.py" not in failed.stderr


def test_which_task_is_meant_and_what_it_takes_are_checked(shell: Any, file: str) -> None:
    assert "say which of add, day, fail, import" in shell("dev", file, code=2).stderr
    assert "declares no task nope" in shell("dev", file, "nope", code=3).stderr
    assert "parameter a" in shell("dev", file, "add", code=2).stderr
    assert "integer" in shell("dev", file, "add", "a=x", code=2).stderr


def test_the_only_task_of_a_file_needs_no_name_and_a_broken_file_is_explained(shell: Any, file: str) -> None:
    Path("one.py").write_text("from taskq import task\n@task\ndef only(text: str):\n    return text\n")
    assert shell("dev", "one.py", "text=1.10").stdout == "1.10\n"
    Path("broken.py").write_text("import nowhere_to_be_found\n")
    assert "No module named 'nowhere_to_be_found'" in shell("dev", "broken.py", code=1).stderr


def test_a_file_that_could_not_be_registered_alone_is_warned_of(shell: Any, file: str) -> None:
    assert file
    Path("beside.py").write_text("X = 1\n")
    Path("local.py").write_text("from taskq import task\nfrom beside import X\n@task\ndef only():\n    return X\n")
    assert "takes one file" in shell("dev", "local.py").stderr


def test_a_task_that_asks_for_another_attempt_is_told_that_there_is_none(shell: Any, tmp_path: Path) -> None:
    file = tmp_path / "asks.py"
    file.write_text("from taskq import TaskContext, task\n@task\ndef asks(ctx: TaskContext):\n    ctx.retry(in_='5m', error='429')\n")
    said = shell("dev", str(file), code=1).stderr
    assert "asks asked to be tried again in 300 s: 429" in said
