"""What RQ's `Job` reads of a run: a serializer class for `rq.job.Job.fetch(id, serializer=RunSerializer)`.

A run's ``data`` is a *guard* followed by our blob. The guard is a constant, complete pickle of RQ's four-tuple whose
function name is a sentence. A stock ``rq worker`` with RQ's default serializer stops reading at the end of that pickle,
looks for a function of that name and fails the job with "Invalid attribute name: <the sentence>". taskq itself never
unpickles: it compares the guard's bytes and skips them. With this class as its serializer a stock worker reads the same
sentence from `loads` and fails the same way.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from taskq.registry import codec
from taskq.registry.errors import FormatUnknown

REFUSAL: Final = "this run belongs to taskq and only a taskq worker may execute it: start one with `taskq worker`"
# Protocol 2: (REFUSAL, None, (), {}) — spelt out, so that it is the same on every Python.
GUARD: Final = b"\x80\x02(X" + len(REFUSAL.encode()).to_bytes(4, "little") + REFUSAL.encode() + b"N)}t."


def dump_params(params: dict[str, Any]) -> bytes:
    """A run's ``data`` field for these parameters."""
    return GUARD + codec.dumps(params)


def load_params(data: bytes) -> dict[str, Any]:
    """The parameters in a run's ``data`` field.

    Raises:
        FormatUnknown: this is not a run of taskq.
    """
    params = codec.loads(stored_params(data))
    if not isinstance(params, dict):
        raise FormatUnknown("the run's parameters are not a mapping")
    return params


def stored_params(data: bytes) -> bytes:
    """The parameters in a run's ``data`` field as the blob that was stored; RQ may have compressed it when it requeued the job.

    Raises:
        FormatUnknown: this is not a run of taskq.
    """
    if data[:1] == b"\x78":
        try:
            data = zlib.decompress(data)
        except zlib.error as error:
            raise FormatUnknown("the run's data is damaged") from error
    if not data.startswith(GUARD):
        raise FormatUnknown("the job was not enqueued by taskq")
    return data[len(GUARD) :]


class RunSerializer:
    """RQ's serializer protocol over taskq's msgpack form, for `Job.fetch` and `Queue(serializer=…)`."""

    @staticmethod
    def dumps(obj: Any) -> bytes:
        """A blob; RQ's own four-tuple of a job becomes a guarded payload."""
        if isinstance(obj, tuple) and len(obj) == 4 and obj[0] == REFUSAL:
            return dump_params(obj[3])
        return codec.dumps(obj)

    @staticmethod
    def loads(data: bytes) -> Any:
        """The value of a blob, or RQ's four-tuple ``(sentence, None, (), params)`` of a run's data."""
        if data.startswith(GUARD):
            return REFUSAL, None, (), load_params(data)
        return codec.loads(data)
