"""`.taskq/`: who holds it, what stands in it, and the server's configuration."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from taskq.registry.errors import Conflict, InvalidInput, NotFound, Refused
from taskq.registry.settings import Settings, find_url
from taskq.up import server as server_module
from taskq.up.home import Home
from taskq.up.server import Server, find_binary


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_private_and_ignored_by_git(tmp_path: Path) -> None:
    with Home.held(tmp_path) as home:
        assert mode(home.path) == 0o700
        assert (home.path / ".gitignore").read_text() == "*\n"
    home.path.chmod(0o755)
    with Home.held(tmp_path):
        assert mode(home.path) == 0o700


def test_only_one_holds_it_and_a_dead_ones_document_is_taken_over(tmp_path: Path) -> None:
    with Home.held(tmp_path) as home:
        home.publish(pid=42, password=None, processes={"redis": 43})
        with pytest.raises(Conflict, match=r"already runs in .* \(pid 42\)"), Home.held(tmp_path):
            pass
        assert json.loads((home.path / "up.json").read_text())["processes"] == [{"name": "redis", "pid": 43}]
    assert not (home.path / "up.json").exists()
    (home.path / "up.json").write_text('{"pid": 42}')
    with Home.held(tmp_path):
        assert not (home.path / "up.json").exists()


def test_a_path_that_no_socket_can_have_is_refused_clearly(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="the system allows 107") as error, Home.held(tmp_path / ("x" * 100)):
        pass
    assert "shorter path" in error.value.hint


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".taskq").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused), Home.held(tmp_path):
        pass


def test_what_holds_the_password_is_private_and_other_commands_find_the_server(tmp_path: Path) -> None:
    with Home.held(tmp_path) as home, socket.socket(socket.AF_UNIX) as listener:
        password = home.password()
        assert home.password() == password
        server = Server(home, Path("valkey-server"), password=password)
        server.configure()
        home.publish(pid=1, password=password, processes={})
        listener.bind(str(home.socket))
        assert [mode(home.path / name) for name in ("password", "redis.conf", "up.json")] == [0o600] * 3
        assert f"requirepass {password}" in home.config.read_text()
        assert password not in " ".join(server.argv())
        assert find_url(Settings(), tmp_path) == server.url


def test_a_port_that_is_taken_is_a_conflict(tmp_path: Path) -> None:
    with Home.held(tmp_path) as home, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(Conflict, match="can't be used"):
            Server(home, Path("x"), port=holder.getsockname()[1]).configure()


def test_the_server_is_the_embedded_one_else_one_on_the_path_else_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_binary().name == "valkey-server"
    monkeypatch.setattr(server_module, "find_spec", lambda _: None)
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == own
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotFound) as error:
        find_binary()
    assert "pip install" in error.value.hint
