"""Enqueues runs of ``ledger`` one by one, each under a key of its own, until each is acknowledged: ``load.py FIRST COUNT``.

Prints ``number run tries`` for each that is acknowledged. Where Redis does not answer, the same one is sent again: its key makes
it one run, however often it is sent.
"""

from __future__ import annotations

import sys
import time

from taskq import Client
from taskq.registry.errors import ServerUnreachable


def main() -> None:
    """Enqueue what the arguments say."""
    first, count = map(int, sys.argv[1:])
    with Client() as client:
        for number in range(first, first + count):
            run, tries = None, 0
            while run is None:
                tries += 1
                try:
                    run = client.options(key=f"ledger-{number}").enqueue("ledger", number=number)
                except ServerUnreachable:
                    time.sleep(0.1)
            print(number, run.id, tries, flush=True)


if __name__ == "__main__":
    main()
