"""``python -m chaos.child KIND NAME FOLDER PLACE NTH``: a process that does what the command does, and dies where it was told to.

The client and the registrar say in files of the folder what was acknowledged to them.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import sys
import threading
from pathlib import Path

from chaos.ledger import Ledger
from taskq import Client, Registry
from taskq.producer.scheduler.process import run_scheduler
from taskq.registry.errors import TaskqError
from taskq.registry.runtime.faults import POINTS, arm
from taskq.registry.settings import Settings
from taskq.worker import FleetWorker

# How long runs take: on the whole about a third of what the workers could do.
_SECONDS = (*[0.0] * 6, 0.002, 0.02, 0.1)
# Paces the load; nothing is waited for.
pause = threading.Event().wait


def main() -> int:
    """Be the process that the arguments name; returns the exit code."""
    kind, name, folder, place, nth = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=f"%(asctime)s {name} %(levelname)s %(message)s")
    if place in POINTS:
        arm(place, int(nth))
    settings = Settings.load()
    if kind == "worker":
        return FleetWorker(settings=settings, name=name, executors=2, dedicated=True).work()
    if kind == "scheduler":
        return run_scheduler(settings, name, dedicated=True)
    return {"client": _enqueue, "registrar": _register}[kind](settings, Path(folder))


def _enqueue(settings: Settings, folder: Path) -> int:
    """Runs of all kinds, until we are killed; what is acknowledged is written down, and nothing else."""
    dice = random.Random(os.getpid())
    with Client(settings=settings) as client, (folder / f"acknowledged.{os.getpid()}").open("a", buffering=1) as acknowledged:
        for at in itertools.count():
            params = [{"seconds": dice.choice(_SECONDS)} for _ in range(dice.randint(1, 20))]
            try:
                if at % 4 == 3:
                    runs = [client.options(in_=dice.random()).enqueue("step", **params[0])]
                else:
                    runs = client.enqueue_many("step", params)
            except TaskqError as error:
                logging.info("refused: %s", error)
                pause(0.2)
                continue
            acknowledged.write("".join(f"{run.id}\n" for run in runs))
            pause(0.05)
    return 0


def _register(settings: Settings, folder: Path) -> int:
    """New versions of the tasks, until we are killed."""
    ledger, file = Ledger(folder / "ledger"), folder / "registrar" / "steps.py"
    file.parent.mkdir(exist_ok=True)
    registry = Registry(settings=settings)
    while True:
        file.write_text(ledger.source(random.SystemRandom().randrange(1, 1 << 30)))
        try:
            registry.register(file)
        except TaskqError as error:
            logging.info("refused: %s", error)
        pause(0.2)


if __name__ == "__main__":
    sys.exit(main())
