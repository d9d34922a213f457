"""The frames between a supervisor and an executor."""

from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as some

from taskq.worker.link.protocol import MAX_FRAME, Decoder, Kind, Message, ProtocolError, encode

values = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**63), 2**64 - 1)
    | some.floats(allow_nan=False)
    | some.text(max_size=20)
    | some.binary(max_size=20),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
messages = some.lists(
    some.builds(Message, some.sampled_from(Kind), some.integers(0, 2**63), some.dictionaries(some.text(max_size=5), values, max_size=4)),
    max_size=8,
)


@given(messages, some.lists(some.integers(0, 400), max_size=6))
def test_messages_arrive_as_they_were_sent_however_the_bytes_are_cut(sent: list[Message], cuts: list[int]) -> None:
    data = b"".join(encode(*message) for message in sent)
    decoder, received, start = Decoder(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        received += decoder.feed(data[start:cut])
        start = max(start, cut)
    assert received == sent


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", MAX_FRAME + 1),
        b"\xff\xff\xff\xffgarbage",
        frame(b"\xc1"),
        frame(b""),
        frame(msgpack.packb({"kind": 5})),
        frame(msgpack.packb([5, 1])),
        frame(msgpack.packb([99, 1, {}])),
        frame(msgpack.packb([True, 1, {}])),
        frame(msgpack.packb([[], 1, {}])),
        frame(msgpack.packb([5, -1, {}])),
        frame(msgpack.packb([5, 1, []])),
        frame(msgpack.packb([5, 1, {}]) + b"\x00"),
        frame(b"\x91" * 5000),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(data)


def test_a_message_beyond_the_limit_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="a frame may have 67108864"):
        encode(Kind.FINISHED, 1, {"result": bytes(MAX_FRAME)})
    with pytest.raises(ProtocolError, match="FINISHED 1 can't be serialised"):
        encode(Kind.FINISHED, 1, {"result": object()})


def test_a_large_frame_in_small_pieces_is_put_together_without_copying_it_again_and_again() -> None:
    data = encode(Kind.FINISHED, 1, {"result": bytes(32 * 1024 * 1024)})
    decoder, received = Decoder(), []
    for start in range(0, len(data), 16 * 1024):
        received += decoder.feed(data[start : start + 16 * 1024])
    assert len(received[0].body["result"]) == 32 * 1024 * 1024


def test_lone_surrogates_are_sent_escaped() -> None:
    [message] = Decoder().feed(encode(Kind.LOG, 1, {"lines": [[0.0, "STDOUT", "a\ud800"]]}))
    assert message.body["lines"][0][2] == "a\\ud800"
