"""The frames between a supervisor and an executor."""

from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as some

from taskq.worker.link.protocol import MAX_FRAME, Decoder, Encoder, Kind, Message, ProtocolError, Report, as_finished, as_report, encode

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
numbers = some.integers(0, 2**63)
lists = some.builds(Message, some.sampled_from([Kind.RUN, Kind.FINISHED]), numbers, some.lists(values, max_size=4))
maps = some.builds(
    Message,
    some.sampled_from([kind for kind in Kind if kind not in (Kind.RUN, Kind.FINISHED)]),
    numbers,
    some.dictionaries(some.text(max_size=5), values, max_size=4),
)
frames = some.lists(some.lists(lists | maps, max_size=4), max_size=5)


@given(frames, some.lists(some.integers(0, 400), max_size=6))
def test_messages_arrive_as_they_were_sent_however_the_bytes_are_cut(batches: list[list[Message]], cuts: list[int]) -> None:
    encoder, sent = Encoder(), [message for batch in batches for message in batch]
    data = b"".join(encoder.frames(batch) for batch in batches)
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
        frame(msgpack.packb([6, 1, {}])),
        frame(msgpack.packb([[6, 1]])),
        frame(msgpack.packb([[99, 1, {}]])),
        frame(msgpack.packb([[True, 1, {}]])),
        frame(msgpack.packb([[[], 1, {}]])),
        frame(msgpack.packb([[6, -1, {}]])),
        frame(msgpack.packb([[6, 1, []]])),
        frame(msgpack.packb([[5, 1, {}]])),
        frame(msgpack.packb([[6, 1, {}], 7])),
        frame(msgpack.packb([[6, 1, {}]]) + b"\x00"),
        frame(b"\x91" * 5000),
        frame(msgpack.packb([[6, 1, {"at": msgpack.Timestamp(2**62)}]])),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(data)


def test_a_message_beyond_the_limit_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="a frame may have 67108864"):
        encode(Kind.FINISHED, 1, [1.0, bytes(MAX_FRAME)])
    with pytest.raises(ProtocolError, match="FINISHED 1 can't be serialised"):
        encode(Kind.FINISHED, 1, [1.0, object()])


def test_a_large_frame_in_small_pieces_is_put_together_without_copying_it_again_and_again() -> None:
    data = encode(Kind.FINISHED, 1, [1.0, bytes(32 * 1024 * 1024)])
    decoder, received = Decoder(), []
    for start in range(0, len(data), 16 * 1024):
        received += decoder.feed(data[start : start + 16 * 1024])
    assert len(received[0].body[1]) == 32 * 1024 * 1024


def test_messages_that_fit_no_frame_together_travel_in_several() -> None:
    sent = [Message(Kind.FINISHED, number, [1.0, bytes(30 * 1024 * 1024)]) for number in range(3)]
    assert Decoder().feed(Encoder().frames(sent)) == sent


def test_an_encoder_that_was_given_what_is_no_message_goes_on() -> None:
    encoder = Encoder()
    with pytest.raises(ProtocolError, match="LOG 1, LOG 2 can't be serialised"):
        encoder.frames([Message(Kind.LOG, 1, {}), Message(Kind.LOG, 2, {"lines": object()})])
    assert Decoder().feed(encoder.frames([Message(Kind.LOG, 3, {})])) == [Message(Kind.LOG, 3, {})]


@pytest.mark.parametrize(
    "report",
    [
        {"outcome": "succeeded", "reason": None, "result": b"r", "ms": 1.5},
        {"outcome": "failed", "reason": "error", "result": None, "error": "E", "traceback": "T", "kinds": ["E"], "ms": 0.5},
        {"outcome": "retry", "reason": None, "result": None, "delay": 3.0, "ms": 0.5},
    ],
)
def test_how_a_run_ended_arrives_as_it_was_told(report: Report) -> None:
    assert as_report(as_finished(report)) == report


@pytest.mark.parametrize("body", [[], [1.0], [1.0, None, None], [1.0, None, {}, 4]])
def test_what_does_not_say_how_a_run_ended_is_refused(body: list[object]) -> None:
    with pytest.raises(ProtocolError):
        as_report(body)


def test_lone_surrogates_are_sent_escaped() -> None:
    [message] = Decoder().feed(encode(Kind.LOG, 1, {"lines": [[0.0, "STDOUT", "a\ud800"]]}))
    assert message.body["lines"][0][2] == "a\\ud800"
