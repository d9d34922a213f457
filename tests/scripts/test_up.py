"""scripts/up: shows a run, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


class Up:
    """scripts/up in a copy of what it needs, with this process's own virtual environment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "up.log"
        for name in ("scripts", "examples"):
            shutil.copytree(ROOT / name, folder / name)
        shutil.copy(ROOT / "pyproject.toml", folder)
        self.venv = folder / ".venv"
        (self.venv / "bin").mkdir(parents=True)
        for name in ("python", "taskq"):
            real = Path(sys.executable) if name == "python" else Path(sys.executable).with_name("taskq")
            shim = self.venv / "bin" / name
            shim.write_text(f'#!/bin/sh\nexec "{real}" "$@"\n')
            shim.chmod(0o755)
        checksum = subprocess.run(["cksum"], input=(folder / "pyproject.toml").read_bytes(), check=True, capture_output=True).stdout
        (self.venv / ".taskq-stamp").write_bytes(b"dev " + checksum)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKQ_") and name != "VENV"}
        with self.log.open("w") as log:
            self.process = psutil.Popen(
                [folder / "scripts/up"],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
                # Whoever starts the tests in the background has SIGINT ignored, and that is inherited.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        self.seen: set[psutil.Process] = set()

    def said(self, text: str) -> bool:
        if self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
            self.seen |= set(self.process.children(recursive=True))
        return text in self.log.read_text()

    def until_said(self, text: str) -> None:
        until(lambda: self.said(text) or self.process.poll() is not None, 90, text)
        assert self.said(text), self.log.read_text()

    def left(self) -> list[psutil.Process]:
        return [process for process in self.seen if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    def until_gone(self) -> None:
        until(lambda: self.process.poll() is not None, 30, "the script ends")
        until(lambda: not self.left(), 30, "each process is gone")
        assert len(self.seen) >= 2, "nothing had been started"
        assert not list((self.folder / ".taskq").glob("*.sock"))
        assert not (self.folder / ".taskq/up.json").exists()


@pytest.fixture
def up() -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="tq") as folder:
        started = Up(Path(folder))
        try:
            yield started
        finally:
            for process in [*started.left(), started.process]:
                if process.is_running():
                    process.kill()
            started.process.wait()


def test_it_shows_a_run_and_ctrl_c_leaves_nothing(up: Up) -> None:
    up.until_said("Ctrl-C here ends all of it")
    text = up.log.read_text()
    # By this run, or by one that its schedule made just before it: all of the export was read.
    assert '"position": 249295' in text and '"pending_bytes": 0' in text
    assert "cron 0 6 * * * Europe/Berlin" in text
    assert "fires by itself" in text and "Nothing has fired" not in text
    assert {"clean_logs", "daily_report", "push_messages", "sync_orders"} <= set(text.split())

    os.killpg(up.process.pid, signal.SIGINT)  # what a terminal does

    up.until_gone()
    assert up.process.returncode == 0
    assert "again to not wait" in up.log.read_text()  # one signal arrived, not two


def test_sigterm_ends_it_while_it_registers(up: Up) -> None:
    up.until_said("Registering the examples")
    up.process.terminate()
    up.until_gone()
    assert "All is up" not in up.log.read_text()


@pytest.mark.parametrize("moment", ["Making the examples", "Ctrl-C stops all of it"])
def test_ctrl_c_ends_it_early_too(up: Up, moment: str) -> None:
    up.until_said(moment)
    until(lambda: up.said(moment) and len(up.seen) >= 2, 20, "processes")
    os.killpg(up.process.pid, signal.SIGINT)
    up.until_gone()


def test_a_kill_of_the_script_takes_all_with_it(up: Up) -> None:
    up.until_said("Registering the examples")
    up.process.kill()
    up.until_gone()


def test_a_fault_of_up_is_the_scripts(up: Up, tmp_path: Path) -> None:
    up.until_said("Registering the examples")
    again = subprocess.run([up.folder / "scripts/up"], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60)
    assert again.returncode == 4, again.stderr
    up.process.terminate()
    up.until_gone()
