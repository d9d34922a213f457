"""From the common options to `Settings`."""

from __future__ import annotations

from typing import Any

from taskq.cli.options import Options
from taskq.registry.names import check
from taskq.registry.settings import Settings


def settings_of(options: Options, **explicit: Any) -> Settings:
    """Settings from the common options, the environment and the defaults; ``explicit`` wins where not None.

    Raises:
        InvalidInput: a value is not allowed.
    """
    return Settings.load(redis_url=options.redis, namespace=options.namespace, **explicit)


def queue_names(text: str) -> tuple[str, ...]:
    """Names of queues from ``a,b``; ``default`` if there are none.

    Raises:
        InvalidInput: one is not allowed.
    """
    return tuple(check("queue", part.strip()) for part in text.split(",") if part.strip()) or ("default",)
