"""A client whose server is away knocks at most twice a second."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq import AsyncClient, Client, ServerUnreachable
from taskq.registry.settings import Settings

SECONDS = 3.0


@pytest.fixture
def knocks(tmp_path: Path) -> Iterator[tuple[Settings, list[float]]]:
    """A server that ends each connection at once, and when each one came."""
    came: list[float] = []
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "s"))
        door.listen(100)

        def answer() -> None:
            while True:
                try:
                    there, _ = door.accept()
                except OSError:
                    return
                came.append(time.monotonic())
                there.close()

        thread = threading.Thread(target=answer)
        thread.start()
        yield Settings(redis_url=f"unix://{tmp_path / 's'}"), came
        door.shutdown(socket.SHUT_RDWR)
        thread.join()


def most_in_a_second(came: list[float]) -> int:
    return max(sum(at <= other < at + 0.99 for other in came) for at in came)


def test_f11_a_client_in_a_loop_tries_twice_a_second_and_each_call_fails_clearly(knocks: tuple[Settings, list[float]]) -> None:
    settings, came = knocks
    began, calls = time.monotonic(), 0
    with Client(settings=settings) as client:
        while time.monotonic() - began < SECONDS:
            with pytest.raises(ServerUnreachable, match="can't be reached"):
                client.enqueue("anything")
            calls += 1
    assert calls >= 2
    assert most_in_a_second(came) <= 2


def test_f11_so_does_an_asyncio_client(knocks: tuple[Settings, list[float]]) -> None:
    settings, came = knocks

    async def loop() -> None:
        began = time.monotonic()
        async with AsyncClient(settings=settings) as client:
            while time.monotonic() - began < SECONDS:
                with pytest.raises(ServerUnreachable, match="can't be reached"):
                    await client.enqueue("anything")

    asyncio.run(loop())
    assert most_in_a_second(came) <= 2
