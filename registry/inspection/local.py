"""`inspect_file`: inspects a file in a clean process on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from taskq.registry import codec
from taskq.registry.errors import FormatUnknown, InspectionFailed
from taskq.registry.inspection.found import FoundTask, found_tasks
from taskq.registry.settings import Settings, executor_environment

# The deadline is kept by the child from the moment that the import begins; so much more for an interpreter to start on a
# machine that is very busy.
_STARTUP: Final = 60.0
_FAREWELL: Final = 5.0


def inspect_file(
    path_or_name: Path | str, source: bytes, *, timeout: float, python: str | None = None, settings: Settings | None = None
) -> list[FoundTask]:
    """Import ``source`` in a child process and return the tasks that it declares, in order of definition.

    Args:
        path_or_name: for tracebacks; it is not read.
        source: the file's bytes.
        timeout: how long the import may take, in seconds. Then it is killed with all its descendants.
        python: the interpreter; this one if None.
        settings: name the variables that the import may see besides the usual ones (``executor_env``).

    Raises:
        InspectionFailed: it can't be imported, ends its process, takes too long, or holds no task.
        DistributionMissing: it imports something that is not installed.
        InvalidInput, Unsupported: a declaration is not allowed.
    """
    file = str(path_or_name)
    # -P: what stands in the working folder is not importable, as it will not be on a worker.
    command = [python or sys.executable, "-P", "-m", "taskq.registry.inspection.child", file, f"{timeout:g}"]
    environment = executor_environment(settings or Settings.load())
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, start_new_session=True
    ) as process:
        try:
            answer, complaint = process.communicate(source, timeout + _STARTUP)
        except subprocess.TimeoutExpired:
            raise InspectionFailed(f"{file}: the inspecting process did not answer") from None
        finally:
            _end(process)
    try:
        document = codec.loads(answer)
    except FormatUnknown:
        raise InspectionFailed(f"{file}: the inspecting process failed\n{complaint.decode(errors='replace')[-4000:]}") from None
    return found_tasks(document, file)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()  # it then ends its descendants first
        try:
            process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            process.kill()
