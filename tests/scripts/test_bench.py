"""scripts/bench: its figures have a form, and nothing of it stays, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_executor(process: psutil.Process) -> bool:
    """Whether it is a worker's executor."""
    try:
        return "taskq.worker.executor" in process.cmdline()
    except psutil.Error:
        return False


class Bench:
    """scripts/bench in a copy of what it needs, with this process's own virtual environment.

    ``data`` is where its servers' files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.log = folder, folder / "data", folder / "bench.log"
        self.data.mkdir()
        shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        shim = folder / ".venv/bin/python"
        shim.parent.mkdir(parents=True)
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        shim.chmod(0o755)
        checksum = subprocess.run(["cksum"], input=(folder / "pyproject.toml").read_bytes(), check=True, capture_output=True).stdout
        (folder / ".venv/.taskq-stamp").write_bytes(b"dev " + checksum)
        self.process: psutil.Popen | None = None
        self.seen: set[psutil.Process] = set()

    def start(self, *options: str) -> psutil.Popen:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKQ_") and name != "VENV"}
        with self.log.open("w") as log:
            self.process = psutil.Popen(
                [self.folder / "scripts/bench", "--quick", "--folder", str(self.data), *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=environment | {"TASKQ_NAMESPACE": "other"},  # what configures taskq outside is not what is measured
                # Whoever starts the tests in the background has SIGINT ignored, and that is inherited.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        return self.process

    def look(self) -> set[psutil.Process]:
        """All processes below it that were seen so far."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            self.seen |= set(self.process.children(recursive=True))
        return self.seen

    def left(self) -> list[psutil.Process]:
        """Those that still run."""
        return [process for process in self.seen if alive(process)]

    def ended(self, within: float = 90) -> int:
        """Wait for its end, at most so many seconds; returns its exit code."""
        assert self.process is not None
        until(lambda: self.look() is not None and self.process.poll() is not None, within, "the bench ends")
        return int(self.process.returncode)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="tq") as folder:
        made = Bench(Path(folder))
        try:
            yield made
        finally:
            for process in [*made.left(), *([made.process] if made.process else [])]:
                if process.is_running():
                    process.kill()
            if made.process:
                made.process.wait()


def test_it_measures_all_peers_and_writes_each_measurement(bench: Bench) -> None:
    measures = ("drain", "enqueue", "latency", "idle", "convergence")
    files = ("--json", str(bench.folder / "out.json"), "--markdown", str(bench.folder / "out.md"))
    bench.start("--runs", "60", "--aof", "no", "--peers", "taskq,rq,simple", "--only", ",".join(measures), *files)
    assert bench.ended() == 0, bench.log.read_text()

    document = json.loads((bench.folder / "out.json").read_text())
    assert document["format"] == 2 and document["plan"]["quick"]
    assert document["machine"]["cores"] >= 1 and document["machine"]["fsync_ms"] > 0
    assert {"python", "server", "taskq-fleet", "rq", "redis"} <= set(document["versions"])
    made = {(one["measure"], one["peer"]): one for one in document["measurements"]}
    assert set(made) == {
        *((measure, peer) for measure in ("drain", "latency", "idle") for peer in ("taskq", "rq", "simple")),
        *(("enqueue", peer) for peer in ("taskq", "rq")),
        ("convergence", "taskq"),
    }
    assert made["drain", "taskq"]["runs"] == 60
    for one in made.values():
        assert one["aof"] == "no" and one["repeat"] == 1 and set(one["before"]) == {"cpu_percent", "stolen_percent", "load_1min"}
        assert all(figure > 0 for figure in one["figures"].values()), one
    assert consistent(made["latency", "rq"])
    (median,) = [row for row in document["medians"] if (row["measure"], row["peer"]) == ("latency", "rq")]
    assert median["figures"] == pytest.approx(made["latency", "rq"]["figures"], abs=1e-3)

    text = bench.log.read_text()
    assert "idle start p50, ms" in text and "SimpleWorker" in text and "×" in text
    (mark,) = [mark for mark in document["marks"] if mark["title"] == "drain, of the forking RQ worker"]
    assert mark["wanted"] == "≥ 120 ×" and mark["value"].endswith("×") and mark["met"] in (True, False)
    written = (bench.folder / "out.md").read_text()
    assert "| rq worker |" in written and "| drain, of the forking RQ worker | ≥ 120 × |" in written
    assert not bench.left() and len(bench.seen) >= 10
    assert not list(bench.data.iterdir())


def test_what_is_not_in_a_usual_run_is_measured_when_it_is_named(bench: Bench) -> None:
    measures = ("threads", "async", "mix", "promotes", "million", "outage")
    bench.start("--aof", "no", "--peers", "taskq,rq", "--only", ",".join(measures), "--json", str(bench.folder / "out.json"))
    assert bench.ended(150) == 0, bench.log.read_text()

    document = json.loads((bench.folder / "out.json").read_text())
    made = {(one["measure"], one["peer"]): one["figures"] for one in document["measurements"]}
    assert set(made) == {("threads", "rq"), *((measure, "taskq") for measure in measures)}
    assert made["threads", "taskq"]["at_once"] > 4 and made["async", "taskq"]["at_once"] > 4
    assert made["mix", "taskq"]["slow"] >= 1 and made["mix", "taskq"]["free"] > 100
    assert made["promotes", "taskq"]["failed"] == 0 and made["promotes", "taskq"]["swapping_per_second"] > 0
    assert made["million", "taskq"]["worker_last_mib"] > 10
    assert made["outage", "taskq"]["exited"] == 0 and made["outage", "taskq"]["lost"] == 0
    assert made["outage", "taskq"]["attempts_per_second"] > 0
    assert not bench.left() and not list(bench.data.iterdir())


def consistent(latency: dict[str, Any]) -> bool:
    """Whether its figures come from its samples."""
    samples = sorted(latency["samples"]["start_ms"])
    return samples[0] <= latency["figures"]["start_p50_ms"] <= latency["figures"]["start_p99_ms"] <= samples[-1] + 0.001


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_it_stays_when_it_is_interrupted(bench: Bench, ending: signal.Signals) -> None:
    process = bench.start("--only", "latency", "--peers", "taskq", "--repeat", "50")
    until(lambda: any(map(is_executor, bench.look())), 60, "executors")

    os.kill(process.pid, ending) if ending == signal.SIGKILL else os.killpg(process.pid, ending)

    code = bench.ended()
    until(lambda: not bench.left(), 20, "each process is gone")
    if ending != signal.SIGKILL:  # which leaves nobody to remove the files
        assert code == 130 and "interrupted" in bench.log.read_text()
        assert not list(bench.data.iterdir())


def test_what_can_not_be_measured_is_refused(bench: Bench) -> None:
    bench.start("--only", "drain,speed")
    assert bench.ended() == 2
    assert "speed is not allowed; there are drain, enqueue, latency, idle, threads" in bench.log.read_text()


@pytest.mark.parametrize("measure", ["drain", "latency"])
def test_a_wrong_result_fails_it(bench: Bench, measure: str) -> None:
    tasks = bench.folder / "scripts/benchmarks/jobs/bench_tasks.py"
    tasks.write_text(tasks.read_text().replace("return 7", "return 8"))

    bench.start("--only", measure, "--peers", "taskq", "--aof", "no", "--runs", "20", "--json", str(bench.folder / "out.json"))

    assert bench.ended() == 1
    assert "a run returned 8 instead of 7" in bench.log.read_text()
    assert not (bench.folder / "out.json").exists() and not bench.left() and not list(bench.data.iterdir())
