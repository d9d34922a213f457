"""The credential of Redis does not stay in the arguments."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
from support.waiting import until

from taskq.cli.secrecy import has_password, take_url


@pytest.mark.parametrize(
    ("given", "kept", "url"),
    [
        (["list"], ["list"], None),
        (["--redis", "redis://a", "list"], ["list"], "redis://a"),
        (["list", "--redis=redis://a", "--json"], ["list", "--json"], "redis://a"),
        (["--redis", "redis://a", "list", "--redis", "redis://b"], ["list"], "redis://b"),
        (["run", "job", "--", "--redis", "x"], ["run", "job", "--", "--redis", "x"], None),
        (["list", "--redis"], ["list"], None),
    ],
)
def test_the_url_is_taken_out_of_the_arguments(given: list[str], kept: list[str], url: str | None) -> None:
    assert take_url(given) == (kept, url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", False),
        ("redis://user@localhost", False),
        ("redis://:pw@localhost", True),
        ("rediss://user:pw@localhost/1", True),
        ("unix:///a/b.sock?password=pw", True),
        ("redis://[broken", True),
    ],
)
def test_a_password_is_found_wherever_a_url_may_have_it(url: str, expected: bool) -> None:
    assert has_password(url) is expected


def test_ps_does_not_show_the_password(own_server, settings) -> None:
    with psutil.Popen(
        [sys.executable, "-m", "taskq", "events", "--redis", f"unix://:hidden@{own_server.socket}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        # The server has no password, so the command ends with exit 5; until then it may be looked at
        until(lambda: process.poll() is not None or "--redis" not in process.cmdline(), 20)
        if process.poll() is None and process.is_running():
            assert "hidden" not in " ".join(process.cmdline())
        process.kill()
