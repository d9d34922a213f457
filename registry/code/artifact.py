"""Artifacts in Redis: stored and read by their digest, never trusted without it."""

from __future__ import annotations

import hashlib

from taskq.registry.effects import Command, Op, Pipeline
from taskq.registry.errors import NotFound, TaskqError
from taskq.registry.keys import Keys


def digest_of(data: bytes) -> str:
    """SHA-256 of an artifact, in hex."""
    return hashlib.sha256(data).hexdigest()


def read_artifact(keys: Keys, digest: str) -> Op[bytes]:
    """The artifact of this digest.

    Raises:
        NotFound: there is none.
        TaskqError: what is stored has another digest; the message names both.
    """
    data = yield Command("GET", keys.code(digest))
    if data is None:
        raise NotFound(f"there is no artifact {digest}")
    actual = digest_of(data)
    if actual != digest:
        raise TaskqError(
            f"artifact {digest} is damaged: what is stored has digest {actual}", hint="register the same file again to repair it"
        )
    return bytes(data)


def store_artifact(keys: Keys, data: bytes, ttl: int = 3600) -> Op[str]:
    """Store an artifact that no version names yet and return its digest.

    One that is there stays for at least ``ttl`` seconds more; one that a version names has no TTL and gets none. A
    damaged one is replaced: its name says what it must hold.

    Args:
        keys: where. ``data``: the artifact's bytes.
        ttl: seconds until it is collected if no version comes to name it.
    """
    digest = digest_of(data)
    key = keys.code(digest)
    created, _ = yield Pipeline([Command("SET", key, data, "EX", ttl, "NX"), Command("EXPIRE", key, ttl, "XX")], atomic=True)
    if not created:
        stored = yield Command("GET", key)
        if stored != data:
            yield Command("SET", key, data, "KEEPTTL")
    return digest
