"""The parts of scripts/bench that need no server: how it speaks to a peer's client program, its marks, its reading of stacks."""

from __future__ import annotations

import importlib
import json
import socket
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.process]

FAKE = """
from benchmarks.clients.producer import Producer

class CLIENT(Producer):
    def enqueue(self, job):
        print("a library that prints")
        return f"{job}-{len(self.handles)}"

    def enqueue_many(self, job, count):
        return [f"{job}-many-{number}" for number in range(count)]

    def value(self, handle, timeout):
        if handle.startswith("broken"):
            raise RuntimeError(f"{handle} failed")
        import time
        return time.monotonic() if handle.startswith("now") else 7
"""

Part = Callable[[str], ModuleType]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Part:
    """Modules of the bench by name."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def speak(part: Part, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts a program as a peer's client, and gives the conversation with it."""
    with part("processes").Processes(tmp_path) as processes:

        def start(argv: list[str], patience: float = 30.0) -> Any:
            environment = {"PYTHONPATH": f"{ROOT / 'scripts'}:{tmp_path}"}
            process = processes.start("client", [sys.executable, "-P", *argv], pipes=True, **environment)
            return part("peers.conversation").Conversation(process, "fake", patience)

        yield start


def fake(tmp_path: Path, speak: Callable[..., Any]) -> Any:
    """A conversation with a library that is none."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "fake.py").write_text(FAKE)
    return speak(["-m", "benchmarks.clients", "library.fake", "unix:///nowhere"])


def test_a_client_program_does_what_it_is_asked_for(speak: Callable[..., Any], tmp_path: Path) -> None:
    client = fake(tmp_path, speak)

    assert len(client.calls("constant", 3)) == 3
    at, taken = client.many("constant", 1000)
    began, started, returned = client.sample(5)

    assert at > 0 and taken > 0 and began <= started <= returned
    assert client.enqueued == 1004
    assert client.values(0, 1003, 1, 5) == [7] * 1003
    assert len(client.values(0, 1003, 10, 5)) == 101


def test_a_fault_of_a_client_program_is_told_with_what_it_said(speak: Callable[..., Any], part: Part, tmp_path: Path) -> None:
    client, fault = fake(tmp_path, speak), part("errors").BenchError
    client.calls("broken", 1)

    with pytest.raises(fault, match="RuntimeError: broken-0 failed"):
        client.values(0, 1, 1, 5)

    assert len(client.calls("constant", 1)) == 1  # and it goes on


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("raise SystemExit('no such library')", "has ended\nno such library"),
        ("print('hello', flush=True)", "wrote b'hello', which is no answer"),
        ('print(\'{"error": "what"}\', flush=True)', "says\nwhat"),
        ("input()", "has not answered for 0.5 s"),
    ],
)
def test_a_client_program_that_does_not_come_up_is_told(speak: Callable[..., Any], part: Part, program: str, message: str) -> None:
    with pytest.raises(part("errors").BenchError, match=message):
        speak(["-c", program], 0.5 if "input" in program else 30.0)


def test_a_call_that_a_client_program_does_not_have_is_refused(part: Part) -> None:
    answer = part("clients.speaker").answer(None, json.dumps({"call": "close", "args": []}))
    assert answer == {"error": "there is no call 'close'; there are calls, many, sample, values"}


def test_each_peer_of_an_environment_has_its_client_its_jobs_and_its_pinned_requirements(part: Part) -> None:
    foreign, peers = part("peers.foreign"), part("peers")
    found = {kind.library for kind in map(peers.load, peers.PEERS) if issubclass(kind, foreign.Foreign)}

    assert found == {"celery", "dramatiq", "huey", "taskiq", "saq", "streaq", "arq"}
    for library in found:
        for place in (f"clients/{library}.py", f"jobs/{library}_jobs.py"):
            assert (ROOT / "scripts/benchmarks" / place).exists()
        lines = (ROOT / f"scripts/benchmarks/requirements/{library}.txt").read_text().splitlines()
        assert all("==" in line for line in lines if not line.startswith("#"))


def test_a_peer_takes_part_only_where_it_can_be_compared(part: Part) -> None:
    measures, peers = part("measures"), part("peers")

    def fits(measure: str, name: str) -> bool:
        return bool(measures.fits(measure, name, peers.load(name)))

    assert fits("drain", "dramatiq") and not fits("latency", "dramatiq")  # it stores no results
    assert fits("latency", "celery-tuned") and not fits("enqueue", "celery-tuned")  # it enqueues as the other does
    assert fits("async", "arq") and not fits("async", "huey")
    assert fits("swaps", "taskq") and not fits("swaps", "rq")


def test_an_environment_that_can_not_be_made_is_told_with_what_to_do(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environments = part("peers.environments")
    monkeypatch.setattr(environments, "_REQUIREMENTS", tmp_path)
    (tmp_path / "nothing.txt").write_text("--no-index\nno-such-thing==1\n")

    with pytest.raises(part("errors").BenchError, match=r"nothing can't be made(.|\n)*no-such-thing(.|\n)*--peers taskq,rq,simple"):
        environments.make(tmp_path / "venvs", "nothing")

    assert not environments.ready(tmp_path / "venvs", "nothing")


def test_marks_compare_with_the_best_that_counts(part: Part) -> None:
    found = {
        ("drain", "taskq"): {"per_second": 15_000.0},
        ("drain", "rq"): {"per_second": 130.0},
        ("drain", "huey-tuned"): {"per_second": 3_500.0},
        ("drain", "dramatiq"): {"per_second": 5_200.0},
        ("latency", "taskq"): {"start_p50_ms": 0.9, "start_p99_ms": 2.0},
        ("latency", "huey"): {"start_p50_ms": 1.0, "start_p99_ms": 3.0},
        ("idle", "taskq"): {"pss_mib": 61.0},
    }

    marks = {mark.title: mark for mark in part("report.marks").marks(found)}

    assert marks["drain, of those that store results"].beside == "huey tuned 3,500" and marks["drain, of those that store results"].met
    assert marks["drain, of any configuration"].beside == "dramatiq 5,200" and not marks["drain, of any configuration"].met
    assert marks["drain, of the forking RQ worker"].value == "115.38 ×" and not marks["drain, of the forking RQ worker"].met
    assert marks["idle start p50"].value == "0.90 ×" and not marks["idle start p50"].met
    assert marks["idle start p99"].met and not marks["idle PSS"].met
    assert "enqueue one" not in marks


def test_a_stub_counts_who_comes_by_process(part: Part, tmp_path: Path) -> None:
    with part("measures.stub").Stub(tmp_path / "socket") as stub:
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as made:
                made.connect(str(tmp_path / "socket"))
        until(lambda: sum(stub.attempts.values()) == 3, 10, "three connections")
        assert len(stub.attempts) == 1
    assert not (tmp_path / "socket").exists()


def test_samples_belong_to_the_innermost_function_of_ours(part: Part) -> None:
    stacks = part("profiling.stacks")
    text = textwrap.dedent(f"""\
        main ({ROOT}/worker/fleet.py:1);run (/usr/lib/asyncio/base_events.py:5);claim ({ROOT}/worker/supervisor/claims.py:9) 5
        main ({ROOT}/worker/fleet.py:1);run (/usr/lib/asyncio/base_events.py:5);select (/usr/lib/selectors.py:4) 2
        boot (/usr/lib/threading.py:1) 1
    """)

    functions = stacks.by_function(text)

    assert functions == {
        "worker/supervisor/claims.py claim": 5,
        "worker/fleet.py main › selectors.py select": 2,
        "(lib/threading.py) boot": 1,
    }
    assert stacks.by_module(functions)["worker/fleet.py"] == 2


def test_markdown_goes_into_a_section_and_leaves_what_is_around_it(part: Part, tmp_path: Path) -> None:
    sections, target = part("report.sections"), tmp_path / "document.md"
    target.write_text("before\n<!-- section: figures -->\nold\n<!-- end: figures -->\nafter\n")

    sections.put(target, "figures", "| new |\n")

    assert target.read_text() == "before\n<!-- section: figures -->\n\n| new |\n\n<!-- end: figures -->\nafter\n"
    with pytest.raises(part("errors").BenchError, match="has no lines <!-- section: others -->"):
        sections.check(target, "others")
