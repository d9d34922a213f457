"""Tasks that write down that they ran, a line each, in the folder that all workers share."""

from __future__ import annotations

import os
import time

from taskq import TaskContext, task

RELEASE = 1


def write_down(name: str, line: str) -> None:
    """Append ``line`` to ``/work/<name>`` in one write, so that lines of several workers don't mix."""
    to = os.open(f"/work/{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        os.write(to, f"{line}\n".encode())
    finally:
        os.close(to)


@task(timeout="30s", idempotent=True)
def ledger(ctx: TaskContext, number: int) -> int:
    """Take 20 ms, then write ``number`` down."""
    time.sleep(0.02)
    write_down("ledger", f"{number} {ctx.run} {RELEASE}")
    return number


@task(every="1s", idempotent=True)
def tick(ctx: TaskContext) -> None:
    """Write down which slot of the schedule this is, and the run that it got."""
    write_down("ticks", f"{(ctx.cause or '').rpartition('@')[2]} {ctx.run}")
