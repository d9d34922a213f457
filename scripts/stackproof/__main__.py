"""`scripts/stack-proof`: runs the proofs in order, prints what each found, and ends with 1 if one does not hold."""

from __future__ import annotations

import argparse
import sys
import time

from stackproof.proofs import PROOFS, Skipped
from stackproof.stack import PROJECT, NotProven, Stack


def main() -> int:
    """Run all proofs; the exit code."""
    options = _options()
    failed = 0
    began = time.monotonic()
    with Stack(options.runs, keep=options.keep) as stack:
        for proof in PROOFS:
            title = proof.__name__.replace("_", " ")
            at = f"{time.monotonic() - began:5.0f} s"
            try:
                print(f"{at}  ok       {title}: {proof(stack)}", flush=True)
            except Skipped as reason:
                print(f"{at}  skipped  {title}: {reason}", flush=True)
            except NotProven as reason:
                failed += 1
                print(f"{at}  FAILED   {title}: {reason}", flush=True)
                print(stack.compose("logs", "--no-color", "--tail", "40", code=None), file=sys.stderr)
        ids = [one["Id"] for one in stack.containers() if one["State"]["Running"]]
        print(stack.docker("stats", "--no-stream", "--format", "table {{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.PIDs}}", *ids).rstrip())
        if options.keep:
            print(f"It keeps running: docker compose -p {PROJECT} …, Redis on 127.0.0.1:{stack.port}, files in {stack.files}")
    print(f"{len(PROOFS) - failed} of {len(PROOFS)} in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/stack-proof", description="Prove the compose stack on this machine's Docker.")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    parser.add_argument("--runs", type=int, default=3000, metavar="N", help="how many runs are enqueued while something is killed [3000]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
