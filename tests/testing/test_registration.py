"""Which code runs: objects of the test, modules, files."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from taskq import Conflict, InspectionFailed, InvalidInput, Task, Unsupported, task
from taskq.testing import Fleet

SOURCE = '''"""Tasks of a file."""
from taskq import Task, TaskContext, task

print("imported")
calls = []

@task(queue="slow", timeout="1m")
def double(ctx: TaskContext, number: int = 2) -> int:
    """Twice."""
    calls.append(number)
    return 2 * number

class Sum(Task):
    def execute(self, numbers: list[int]) -> int:
        return sum(numbers)
'''


@task
def top() -> str:
    return "top"


def test_a_task_of_a_module_is_registered_with_its_file(taskq_fleet: Fleet) -> None:
    (document,) = taskq_fleet.register(top)
    assert (document["task"], document["version"], document["state"]) == ("top", 1, "active")
    assert taskq_fleet.registry.source("top") == Path(__file__).read_text()
    shown = taskq_fleet.registry.show("top")
    assert (shown["origin"], shown["spec"]["timeout"]) == ("taskq-fleet", 300.0)
    assert taskq_fleet.register(top)[0]["state"] == "unchanged"


def test_a_task_within_a_test_is_registered_with_its_own_source(taskq_fleet: Fleet) -> None:
    @task
    def inner() -> int:
        return 1

    taskq_fleet.register(inner)
    assert taskq_fleet.registry.source("inner") == "@task\ndef inner() -> int:\n    return 1\n"


def test_changed_code_is_a_new_version_and_each_run_gets_the_routed_one(taskq_fleet: Fleet) -> None:
    @task(name="work")
    def old() -> str:
        return "old"

    @task(name="work")
    def new() -> str:
        return "new"

    assert [taskq_fleet.register(each)[0]["version"] for each in (old, new)] == [1, 2]
    assert taskq_fleet.run("work").result == "new"
    assert taskq_fleet.options(version=1).run("work").result == "old"
    taskq_fleet.registry.rollback("work")
    assert taskq_fleet.run("work").result == "old"
    assert taskq_fleet.run(new).result == "old"  # it is registered: the route decides
    with pytest.raises(Conflict, match="rolled back from"):
        taskq_fleet.register(new)


def test_a_module_is_registered_as_one_release(taskq_fleet: Fleet) -> None:
    module = types.ModuleType("shop_tasks")
    exec(SOURCE, module.__dict__)  # its source is nowhere to be found
    before = taskq_fleet.registry.revision
    assert [document["task"] for document in taskq_fleet.register(module)] == ["double", "sum"]
    assert taskq_fleet.registry.revision == before + 1
    assert taskq_fleet.run("double", number=4).result == 8
    assert module.calls == [4]
    assert taskq_fleet.run("sum", numbers=[1, 2, 3]).result == 6


def test_this_module_is_registered_by_its_object(taskq_fleet: Fleet) -> None:
    taskq_fleet.register(sys.modules[__name__])
    assert taskq_fleet.run("top").result == "top"


def test_a_file_is_registered_and_loaded_as_on_a_worker(taskq_fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(SOURCE)
    before = set(sys.modules)
    assert [document["task"] for document in taskq_fleet.register(file)] == ["double", "sum"]
    run = taskq_fleet.run("double")
    assert (run.result, taskq_fleet.run("sum", numbers=[1]).result) == (4, 1)
    loaded = [name for name in set(sys.modules) - before if name.startswith("taskq_code_")]
    assert len(loaded) == 1
    taskq_fleet.close()
    assert loaded[0] not in sys.modules


def test_a_failure_in_a_files_code_shows_the_files_lines(taskq_fleet: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("from taskq import task\n\n@task\ndef bad():\n    return 1 / 0\n")
    taskq_fleet.register(str(file))
    run = taskq_fleet.attempt("bad")
    assert str(run.error).splitlines()[1:3] == ['  File "bad.py", line 5, in bad', "    return 1 / 0"]


@pytest.mark.parametrize(
    ("text", "error"),
    [("import nothing_of_the_kind\n", InspectionFailed), ("x = 1\n", InspectionFailed), ("from . import other\n", InvalidInput)],
)
def test_a_file_that_can_not_be_registered_is_refused_as_ever(taskq_fleet: Fleet, tmp_path: Path, text: str, error: type) -> None:
    file = tmp_path / "tasks.py"
    file.write_text(text)
    with pytest.raises(error):
        taskq_fleet.register(file)


def test_a_declaration_that_is_not_allowed_is_refused(taskq_fleet: Fleet) -> None:
    @task(queue="no good")
    def lost() -> None: ...

    @task(concurrency=3)
    def crowd() -> None: ...

    @task
    def positional(value: int, /) -> None: ...

    with pytest.raises(InvalidInput, match="task lost: queue"):
        taskq_fleet.run(lost)
    with pytest.raises(Unsupported, match="concurrency"):
        taskq_fleet.register(crowd)
    with pytest.raises(InvalidInput, match="task positional: parameter value is positional-only"):
        taskq_fleet.register(positional)


@pytest.mark.parametrize("thing", [42, print, Task, Task(), types.ModuleType("empty")])
def test_what_is_no_task_is_refused(taskq_fleet: Fleet, thing: Any) -> None:
    with pytest.raises(InvalidInput, match=r"can't be registered: give|declares no task"):
        taskq_fleet.register(thing)


def test_an_instance_of_a_class_stands_for_its_class(taskq_fleet: Fleet) -> None:
    class Say(Task[[], str]):
        def execute(self) -> str:
            return "said"

    assert taskq_fleet.attempt(Say()).result == "said"  # type: ignore[call-overload]  # typed callers give the class
