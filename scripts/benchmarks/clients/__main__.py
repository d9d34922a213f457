"""``python -m benchmarks.clients NAME URL``: the client program of one library, spoken to on stdin and stdout."""

from __future__ import annotations

import sys

from benchmarks.clients.speaker import main

main(sys.argv[1:])
