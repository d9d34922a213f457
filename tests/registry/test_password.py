"""The password of Redis in a file: read for each connection, beaten by the URL's own, and never shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.command import environment

from taskq.registry.connect import connect, connect_async, connect_worker, with_server
from taskq.registry.effects import translate
from taskq.registry.errors import InvalidInput, ServerUnreachable
from taskq.registry.settings import Settings, find_url

PASSWORD = "s3cret/with @ odd:characters"


@pytest.fixture
def guarded(own_server: Any) -> str:
    """URL of a server that asks for `PASSWORD`."""
    with Redis(unix_socket_path=str(own_server.socket)) as client:
        client.config_set("requirepass", PASSWORD)
    return str(own_server.url)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o440)
    return path


def test_each_kind_of_client_gets_the_password_from_the_file(guarded: str, file: Path) -> None:
    settings = Settings(redis_url=guarded, redis_password_file=file)
    with connect(settings) as client:
        assert client.ping()
    assert connect_async(settings).connection_pool.connection_kwargs["password"] == PASSWORD
    assert connect_worker(settings).connection_pool.connection_kwargs["password"] == PASSWORD


def test_without_the_file_the_server_refuses_and_the_message_names_both_places(guarded: str) -> None:
    with connect(Settings(redis_url=guarded)) as client, pytest.raises(Exception, match="required") as caught:
        client.ping()
    meant = translate(caught.value)
    assert isinstance(meant, ServerUnreachable)
    assert "TASKQ_REDIS_PASSWORD_FILE" in meant.hint


def test_a_password_in_the_url_wins(file: Path) -> None:
    settings = Settings(redis_url="redis://:other@localhost", redis_password_file=file)
    with connect(settings) as client:
        assert client.connection_pool.connection_kwargs["password"] == "other"


def test_the_end_of_the_line_is_not_part_of_it_and_blanks_are(tmp_path: Path) -> None:
    path = tmp_path / "password"
    for text in (" a b ", " a b \n", " a b \r\n"):
        path.write_bytes(text.encode())
        with connect(Settings(redis_url="redis://localhost", redis_password_file=path)) as client:
            assert client.connection_pool.connection_kwargs["password"] == " a b "


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "can't be read: No such file or directory"),
        (b"", "on one line"),
        (b"\n", "on one line"),
        (b"one\ntwo\n", "on one line"),
        (b"a\0b", "on one line"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_file_that_cannot_be_it_is_named_and_its_content_is_not_shown(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=fault) as caught:
        connect(Settings(redis_url="redis://localhost", redis_password_file=path))
    assert "TASKQ_REDIS_PASSWORD_FILE" in caught.value.message
    assert str(path) in caught.value.message
    assert "one\\ntwo" not in caught.value.message


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="can't be read: Is a directory"):
        connect(Settings(redis_url="redis://localhost", redis_password_file=tmp_path))


def test_settings_and_url_never_hold_it(guarded: str, file: Path) -> None:
    settings = Settings.load({"TASKQ_REDIS_URL": guarded, "TASKQ_REDIS_PASSWORD_FILE": str(file)})
    assert settings.redis_password_file == file
    assert PASSWORD not in repr(settings) + settings.model_dump_json() + find_url(settings)
    with connect(settings) as client:
        assert PASSWORD not in repr(client) + repr(client.connection_pool)


def test_a_worker_that_is_given_a_client_takes_that_clients_password(guarded: str, file: Path) -> None:
    with connect(Settings(redis_url=guarded, redis_password_file=file)) as client:
        adopted = with_server(Settings(redis_url="redis://elsewhere", redis_password_file=Path("/none")), client)
    with connect(adopted) as client:
        assert client.ping()


def test_a_command_uses_it_and_a_missing_one_is_exit_2(guarded: str, file: Path) -> None:
    def list_tasks(path: Path) -> subprocess.CompletedProcess[str]:
        variables = environment(Settings(redis_url=guarded), TASKQ_REDIS_PASSWORD_FILE=str(path))
        return subprocess.run([sys.executable, "-m", "taskq", "list", "--json"], env=variables, capture_output=True, text=True, check=False)

    done = list_tasks(file)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    missing = list_tasks(file.with_name("gone"))
    assert missing.returncode == 2
    assert "gone" in missing.stderr
    assert "Traceback" not in missing.stderr
