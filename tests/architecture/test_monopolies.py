"""Keys, environment and clock have one module each; exceptions to lint give their reason; tests don't sleep."""

from __future__ import annotations

import pytest

from architecture import exceptions, monopolies
from architecture.tree import real, synthetic

FAMILIES = monopolies.key_families(real("registry"))


def test_only_one_module_spells_keys() -> None:
    assert monopolies.spelt_keys(real(), exceptions.SPELT_KEYS, FAMILIES) == []


@pytest.mark.parametrize(
    "text",
    [
        'k = "taskq:registry"',
        'k = "rq:queues"',
        'k = f"{prefix}:job:{run}"',
        'k = f"{rq}:wip:{queue}"',
        'k = prefix + ":revision"',
        'k = b.prefix + ":logs:" + run',
        'k = "%s:x" % "taskq:versions:%s"',
    ],
)
def test_a_key_that_is_spelt_elsewhere_is_found(text: str) -> None:
    tree = synthetic({"worker/a.py": text})
    assert len(monopolies.spelt_keys(tree, {}, FAMILIES)) == 1
    assert monopolies.spelt_keys(tree, {"taskq.worker.a": "why"}, FAMILIES) == []


@pytest.mark.parametrize(
    "text",
    ['"""Writes ``taskq:registry``."""', 'print(f"{task}: failed")', 'u = "redis://host"', 'e = "taskq.registry.registered"', "d = {1: 2}"],
)
def test_other_text_is_no_key(text: str) -> None:
    assert monopolies.spelt_keys(synthetic({"worker/a.py": text}), {}, FAMILIES) == []


def test_the_families_come_from_the_module_of_keys() -> None:
    assert {"registry", "revision", "changelog", "leases", "job", "queue", "wip"} <= FAMILIES


def test_only_the_settings_read_the_environment() -> None:
    assert monopolies.environment_reads(real(), exceptions.ENVIRONMENT) == []


@pytest.mark.parametrize("text", ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ"])
def test_a_look_at_the_environment_elsewhere_is_found(text: str) -> None:
    assert len(monopolies.environment_reads(synthetic({"producer/a.py": text}), {})) == 1
    assert monopolies.environment_reads(synthetic({"registry/settings.py": text}), {}) == []


def test_only_the_clock_asks_a_clock() -> None:
    assert monopolies.clock_reads(real(), exceptions.CLOCK) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.time()",
        "import time\nf = time.monotonic",
        "from time import time_ns",
        "from datetime import datetime\ndatetime.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
    ],
)
def test_a_question_to_a_clock_elsewhere_is_found(text: str) -> None:
    assert len(monopolies.clock_reads(synthetic({"worker/a.py": text}), {})) == 1
    assert monopolies.clock_reads(synthetic({"registry/clock.py": text}), {}) == []


def test_measuring_and_sleeping_ask_no_clock() -> None:
    assert monopolies.clock_reads(synthetic({"worker/a.py": "import time\ntime.perf_counter()\ntime.sleep(1)"}), {}) == []


def test_a_reason_that_nothing_needs_is_found() -> None:
    assert monopolies.clock_reads(synthetic({"worker/a.py": ""}), {"taskq.worker.a": "why"}) == [
        "taskq.worker.a: needs no exception any more"
    ]


def test_each_hushed_warning_gives_its_reason() -> None:
    assert monopolies.silent_exceptions(real()) == []
    assert monopolies.silent_exceptions(real("examples", "scripts")) == []


@pytest.mark.parametrize(
    "mark", ["noqa", "noqa: S101", "type: ignore", "type: ignore[misc]", "noqa: BLE001, S110", "noqa  # all of it is wrong"]
)
def test_a_hushed_warning_without_a_reason_is_found(mark: str) -> None:
    assert len(monopolies.silent_exceptions(synthetic({"worker/a.py": f"x = 1  # {mark}\n"}))) == 1


@pytest.mark.parametrize(
    "mark", ["noqa: S101  # our own fault", "type: ignore[misc]  # click has no types", "noqa: A002, N802 (the base class's names)"]
)
def test_a_hushed_warning_with_a_reason_is_fine(mark: str) -> None:
    assert monopolies.silent_exceptions(synthetic({"worker/a.py": f"x = 1  # {mark}\n"})) == []


def test_no_test_sleeps() -> None:
    assert monopolies.sleeping_tests(real("tests"), exceptions.SLEEPS) == []


def test_a_test_that_sleeps_is_found() -> None:
    tree = synthetic({"tests/test_a.py": "import time\ntime.sleep(0.1)\nawait asyncio.sleep(0)\ncode = 'time.sleep(60)'\n"})
    assert monopolies.sleeping_tests(tree, {}) == ["tests/test_a.py:2: calls time.sleep(0.1); only tests.support.waiting does"]
