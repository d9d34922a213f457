"""Whether a failed run is tried again, and when: pure.

Counted are retries alone: attempts that ended by a failure and were followed by another one. Losses (death of worker or executor) and
attempts that were handed back are counted elsewhere, so that neither uses up the other: the third loss is poison whatever retries are
left, and ``Retry(max=3)`` gives three further attempts however often a worker died in between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from taskq.registry.model.retry import RetryPolicy

RETRIED = frozenset({"error", "timeout", "oom", "killed"})
"""Reasons of a failure that another attempt may not meet again. The others follow from the run itself, or from what was asked for."""

# What is drawn from a hash has so many bits.
_BITS = 53


def wanted(policy: RetryPolicy, reason: str, kinds: Iterable[str]) -> bool:
    """Whether the policy retries this failure, leaving aside how often it did.

    Args:
        policy: of the version that ran.
        reason: of the failure. ``kinds``: names of the classes of what was raised, bare and qualified; empty where nothing was.
    """
    if reason not in RETRIED:
        return False
    names = {reason, *kinds}
    return names.isdisjoint(policy.not_on) and (not policy.on or not names.isdisjoint(policy.on))


def delay_of(policy: RetryPolicy, retry: int, run: str) -> float:
    """Seconds to wait before a retry.

    The jitter is drawn from a hash of run and retry: the same for the same retry, whoever asks. At ``max_delay``, where it could only
    shorten, it does so for all runs alike evenly: no delay exceeds it.

    Args:
        policy: of the version that ran. ``retry``: 1 for the first. ``run``: the run's id.
    """
    factor = {"fixed": 1.0, "linear": float(retry), "exponential": 2.0 ** (retry - 1)}[policy.backoff]
    longest = policy.max_delay
    delay = min(longest, policy.delay * factor)
    delay *= 1.0 + policy.jitter * (2.0 * _share(run, retry) - 1.0)
    return delay if delay <= longest else max(0.0, 2.0 * longest - delay)


def _share(run: str, retry: int) -> float:
    """A number from 0 to below 1 that is as good as random, and always the same for the same retry of the same run."""
    digest = hashlib.sha256(f"{run}:{retry}".encode("utf-8", "replace")).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / (1 << _BITS)
