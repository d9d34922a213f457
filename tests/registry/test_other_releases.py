"""What another release wrote is left out or refused, and never stands in the way of the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from taskq.registry.changes.registry import Registry
from taskq.registry.errors import FormatUnknown
from taskq.registry.keys import Keys
from taskq.registry.model.record import content_of
from taskq.registry.model.spec import Parameters, Spec
from taskq.registry.settings import Settings

ALIEN = b"\xc1\x63\x80"


def code(result: object) -> bytes:
    return f"from taskq import task\n@task\ndef job():\n    return {result!r}\n".encode()


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    with Registry(settings=settings, who="tester") as made:
        yield made


def test_a_version_of_another_release_does_not_hide_the_others(registry: Registry, redis: Redis, keys: Keys) -> None:
    registry.register_source("job.py", code(1))
    registry.register_source("job.py", code(2))
    redis.hset(keys.versions("job"), "1", ALIEN)
    assert [version["version"] for version in registry.history("job")] == [2]


@pytest.mark.parametrize("fields", [{"tasks": "other", "change": ALIEN}, {"tasks": b"\xff", "change": b""}, {"not": "ours"}])
def test_a_change_of_another_release_does_not_hide_the_others(
    registry: Registry, redis: Redis, keys: Keys, fields: dict[str, bytes | str]
) -> None:
    registry.register_source("job.py", code(1))
    registry.register_source("job.py", code(2))
    redis.xadd(keys.changelog, fields, id="3-0")  # type: ignore[arg-type]  # redis-py's mapping is invariant
    assert [entry["revision"] for entry in registry.audit()] == [2, 1]
    assert registry.rollback("job")[0]["version"] == 1


def test_where_another_release_changed_the_task_a_rollback_wants_the_version(registry: Registry, redis: Redis, keys: Keys) -> None:
    registry.register_source("job.py", code(1))
    registry.register_source("job.py", code(2))
    redis.xadd(keys.changelog, {"tasks": "job", "change": ALIEN}, id="3-0")
    with pytest.raises(FormatUnknown, match="another release") as caught:
        registry.rollback("job")
    assert "name the version" in caught.value.hint
    assert registry.rollback("job", 1)[0]["version"] == 1


def test_content_is_known_again_by_the_identity_that_the_first_release_stored() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 3}}, "additionalProperties": False}
    told = Spec(
        queue="q", labels={"b": "1", "a": "2"}, timeout=10.0, doc="Does it.", parameters=Parameters(json_schema=schema, context="ctx")
    )
    assert content_of("d" * 64, "job", Spec()) == "e0ed1003abf479561e23f2802f038aefe4f6ca2b0d938aa5bcf665623c03d866"
    assert content_of("d" * 64, "job", told) == "602e0b1630cd1be5f3344da0b77d9f447945fb095d6752727547170e1f82ea6d"
