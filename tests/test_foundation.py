"""The foundation: codec, guard, scripts."""

from __future__ import annotations

import pickle

import pytest
from redis import Redis

from taskq.registry import codec, scripts
from taskq.registry.clock import rq_parse
from taskq.registry.errors import FormatUnknown, InvalidInput
from taskq.registry.keys import Keys
from taskq.registry.serializer import REFUSAL, RunSerializer, dump_params, load_params


def test_a_stock_unpickler_reads_the_refusal_and_nothing_else() -> None:
    assert pickle.loads(dump_params({"a": 1})) == (REFUSAL, None, (), {})
    assert load_params(dump_params({"a": [1, "x", None]})) == {"a": [1, "x", None]}
    assert RunSerializer.loads(dump_params({"a": 1}))[3] == {"a": 1}


@pytest.mark.parametrize("blob", [b"", b"\xc1", b"\xc1\x03\x80", b"\x80\x04]", b"\xc1\x01\x92"])
def test_what_is_not_our_format_is_refused(blob: bytes) -> None:
    with pytest.raises(FormatUnknown):
        codec.loads(blob)


def test_what_msgpack_cannot_carry_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    for value in (object(), {1, 2}, 2**70, loop, "\ud800"):
        with pytest.raises(InvalidInput, match="not serialisable"):
            codec.dumps(value)


def test_time_of_the_scripts_is_redis_time(redis: Redis) -> None:
    script = scripts.Script("t", scripts._read("time.lua") + "\nreturn {utc_text(), tostring(now_s), tostring(now_us)}")
    text, s, us = script.call(redis, [], [])
    assert rq_parse(text) == pytest.approx(int(s) + int(us) / 1e6, abs=1e-5)


def test_keys_stand_under_the_hash_tag_of_rqs_prefix() -> None:
    assert Keys("taskq", "{x}:rq").registry == "{x}:taskq:registry"
    assert Keys().registry == "taskq:registry"
