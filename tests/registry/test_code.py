"""Artifacts, modules and imports of a version's code."""

from __future__ import annotations

import gc
import sys
import traceback
import weakref
from pathlib import Path

import pytest
from redis import Redis

from taskq.registry.code.artifact import digest_of, read_artifact, store_artifact
from taskq.registry.code.imports import local_imports, refuse_local_imports
from taskq.registry.code.module import load_module, module_name, unload_module
from taskq.registry.code.traces import format_error, last_line
from taskq.registry.effects import run_sync
from taskq.registry.errors import InvalidInput, NotFound, TaskqError
from taskq.registry.keys import Keys

CODE = b"x = 1\n"


def test_an_artifact_is_read_as_it_was_stored_and_goes_by_itself(redis: Redis, keys: Keys) -> None:
    digest = run_sync(store_artifact(keys, CODE, ttl=100), redis)
    assert digest == digest_of(CODE)
    assert run_sync(read_artifact(keys, digest), redis) == CODE
    assert 0 < redis.ttl(keys.code(digest)) <= 100
    redis.expire(keys.code(digest), 5)
    run_sync(store_artifact(keys, CODE, ttl=100), redis)
    assert redis.ttl(keys.code(digest)) > 50


def test_an_artifact_that_a_version_names_gets_no_ttl(redis: Redis, keys: Keys) -> None:
    digest = run_sync(store_artifact(keys, CODE), redis)
    redis.persist(keys.code(digest))
    run_sync(store_artifact(keys, CODE), redis)
    assert redis.ttl(keys.code(digest)) == -1


def test_a_flipped_byte_is_refused_with_both_digests_and_storing_again_repairs_it(redis: Redis, keys: Keys) -> None:
    digest = run_sync(store_artifact(keys, CODE), redis)
    redis.persist(keys.code(digest))
    redis.setrange(keys.code(digest), 0, b"y")
    with pytest.raises(TaskqError) as caught:
        run_sync(read_artifact(keys, digest), redis)
    assert digest in caught.value.message
    assert digest_of(b"y" + CODE[1:]) in caught.value.message
    run_sync(store_artifact(keys, CODE), redis)
    assert run_sync(read_artifact(keys, digest), redis) == CODE
    assert redis.ttl(keys.code(digest)) == -1


def test_a_missing_artifact_is_not_found(redis: Redis, keys: Keys) -> None:
    with pytest.raises(NotFound):
        run_sync(read_artifact(keys, "0" * 64), redis)


def load(source: bytes, file: str = "job.py") -> str:
    name = module_name(digest_of(source))
    load_module(source, name, file)
    return name


def test_versions_of_one_file_stand_side_by_side_and_show_their_own_lines() -> None:
    sources = [f"def f():\n    raise ValueError('version {number}')\n".encode() for number in (1, 2)]
    names = [load(source) for source in sources]
    try:
        for number, name in enumerate(names, 1):
            with pytest.raises(ValueError, match=f"version {number}") as caught:
                sys.modules[name].f()
            assert f"raise ValueError('version {number}')" in "".join(traceback.format_exception(caught.value))
    finally:
        for name in names:
            unload_module(name)
    assert not set(names) & set(sys.modules)


def test_an_unloaded_module_is_freed() -> None:
    name = load(b"class Big: pass\ndef f(): return Big\n")
    watched = weakref.ref(sys.modules[name].Big)
    unload_module(name)
    unload_module(name)
    gc.collect()
    assert watched() is None


@pytest.mark.parametrize("source", [b"def broken(:\n", b"import sys\nsys.exit(1)\n", b"1/0\n", b"# coding: nonsense\n", b"x = '\xff'\n"])
def test_a_module_that_fails_leaves_nothing_in_sys_modules(source: bytes) -> None:
    before = set(sys.modules)
    with pytest.raises(BaseException):  # noqa: B017  # each raises something else; what is left matters
        load(source)
    assert set(sys.modules) - before == set()


def test_a_module_sees_itself_while_it_is_executed_and_none_of_our_future_imports() -> None:
    source = b"import sys\nassert sys.modules[__name__].__dict__ is globals()\ndef f(x: int): ...\nassert f.__annotations__['x'] is int\n"
    unload_module(load(source))


def test_a_traceback_shows_the_frames_of_the_task_only() -> None:
    with pytest.raises(KeyError) as caught:
        load(b"def f():\n    try:\n        1/0\n    except ZeroDivisionError as e:\n        raise KeyError('x') from e\nf()\n", "mine.py")
    text = format_error(caught.value)
    assert "ZeroDivisionError" in text
    assert 'File "mine.py", line 6' in text
    assert "module.py" not in text
    assert last_line(caught.value) == "KeyError: 'x'"


def test_an_exception_in_one_line_names_its_class_and_not_our_modules() -> None:
    noted = ValueError("first\nsecond")
    noted.add_note("a note")
    assert last_line(noted) == "ValueError: first"
    with pytest.raises(SyntaxError) as wrong:
        load(b"x = (", "mine.py")
    assert last_line(wrong.value).startswith("SyntaxError: ")
    with pytest.raises(Exception, match="why") as own:
        load(b"class Own(Exception): ...\nraise Own('why')", "mine.py")
    assert last_line(own.value) == "Own: why"
    assert format_error(own.value).splitlines()[-1] == "Own: why"


def test_an_exception_whose_text_raises_can_still_be_shown() -> None:
    class NastyError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert "NastyError" in last_line(NastyError())
    assert "NastyError" in format_error(NastyError())


def test_imports_of_modules_beside_the_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").touch()
    (tmp_path / "json.py").touch()  # the standard library wins
    (tmp_path / "redis.py").touch()  # what is installed wins
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.py").touch()
    (tmp_path / "typed.py").touch()
    source = (
        "import json, os, redis, numpy_is_not_here\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import typed\n"
        "def f():\n    import helpers.x\n    from parts import a\nfrom . import sibling\nfrom ..up import thing\n"
    )
    assert local_imports(source, tmp_path) == ["..up", ".sibling", "helpers", "parts"]
    with pytest.raises(InvalidInput, match=r"job.py imports local modules \.\.up, .*: a source artifact is one file"):
        refuse_local_imports(source, tmp_path, "job.py")
    assert local_imports("import json\nimport helpers_", tmp_path) == []
