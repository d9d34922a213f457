"""`resources=`: what may be asked for, and what is said where it may not."""

from __future__ import annotations

from typing import Any

import pytest

from taskq.registry.authoring.size import octets, written
from taskq.registry.errors import FormatUnknown, InvalidInput
from taskq.registry.model.record import content_of
from taskq.registry.model.resources import Resources
from taskq.registry.model.spec import Spec


def spec(resources: Any) -> Spec:
    return Spec.from_options("crunch", {"resources": resources})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256M", 256 << 20),
        ("1G", 1 << 30),
        ("512K", 512 << 10),
        ("1.5g", 3 << 29),
        ("2 MiB", 2 << 20),
        ("64kb", 64 << 10),
        (4096, 4096),
        ("7", 7),
    ],
)
def test_sizes_are_taken_as_people_write_them(text: str | int, size: int) -> None:
    assert octets(text) == size


@pytest.mark.parametrize("text", ["", "M", "lots", "-1M", "1e9", "1MM", "1 P", "9" * 400, -1, True, 1.5, None, [1]])
def test_what_is_no_size_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        octets(text)


@pytest.mark.parametrize("size", [1 << 20, 256 << 20, 3 << 30, 1 << 40, 1000, 0])
def test_a_size_is_written_so_that_it_can_be_read_again(size: int) -> None:
    assert octets(written(size).removesuffix(" bytes")) == size


def test_resources_are_part_of_the_spec() -> None:
    made = spec({"memory": "256M", "pids": 64, "cpu": 0.5})

    assert made.resources == Resources(memory=256 << 20, pids=64, cpu=0.5)
    assert str(made.resources) == "memory 256M, pids 64, cpu 0.5"
    assert Spec.load(made.dump()) == made
    assert made.resources is not None
    assert made.resources.wanted == ("memory", "pids", "cpu")


@pytest.mark.parametrize("nothing", [{}, None, {"memory": None}])
def test_resources_that_limit_nothing_are_none_and_change_no_content(nothing: Any) -> None:
    assert spec(nothing).resources is None
    assert content_of("d", "crunch", spec(nothing)) == content_of("d", "crunch", Spec())


def test_a_limit_makes_another_content() -> None:
    assert content_of("d", "crunch", spec({"pids": 3})) != content_of("d", "crunch", spec({"pids": 4}))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"mem": "1G"}, "'mem'; allowed are memory, pids, cpu"),
        ({"memory": 256}, "at least 1M"),
        ({"memory": "much"}, "'much' is not a size"),
        ({"pids": 0}, "greater than or equal to 1"),
        ({"pids": 2.5}, "valid integer"),
        ({"pids": True}, "must be a number"),
        ({"cpu": 0}, "greater than or equal to 0.01"),
        ({"cpu": float("nan")}, "greater than or equal to 0.01"),
        ({"cpu": "half"}, "valid number"),
        ("256M", "dictionary"),
    ],
)
def test_a_mistake_is_named_with_task_field_and_value(wrong: Any, told: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        spec(wrong)
    assert str(raised.value).startswith("task crunch: resources")
    assert told in str(raised.value)
    assert "(given: " in str(raised.value)


def test_a_limit_of_a_later_release_is_not_ignored() -> None:
    with pytest.raises(FormatUnknown, match="disk"):
        Spec.parse({"resources": {"disk": 5}})
