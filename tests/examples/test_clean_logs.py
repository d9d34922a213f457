"""clean_logs: what goes, what stays."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from taskq.testing import Fleet

DAY = 86_400
Clean = Callable[..., dict[str, Any]]


@pytest.fixture
def logs(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("clean_logs")


@pytest.fixture
def clean(logs: ModuleType, taskq_fleet: Fleet) -> Clean:
    """Runs the task on a folder, and says what it did."""
    return lambda folder, **limits: taskq_fleet.run(logs.clean_logs, folder=str(folder), **limits).result


def write(folder: Path, name: str, *, days: float = 0, size: int = 1000) -> Path:
    path = folder / name
    path.write_bytes(b"x" * size)
    at = time.time() - days * DAY
    os.utime(path, (at, at))
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_rotations_older_than_the_limit_go_and_younger_stay(clean: Clean, tmp_path: Path) -> None:
    for days in (1, 13, 15, 40):
        write(tmp_path, f"access.log.{days}", days=days)
    write(tmp_path, "access.log", days=100)

    done = clean(tmp_path)

    assert names(tmp_path) == {"access.log", "access.log.1", "access.log.13"}
    assert (done["found"], done["removed"], done["kept"], done["freed_bytes"], done["kept_bytes"]) == (4, 2, 2, 2000, 2000)


def test_the_oldest_go_first_until_the_rest_fits(clean: Clean, tmp_path: Path) -> None:
    for number in range(1, 6):
        write(tmp_path, f"access.log.{number}.gz", days=number, size=1000 * number)
    write(tmp_path, "access.log", size=50_000)

    done = clean(tmp_path, keep_bytes=6000)

    assert names(tmp_path) == {"access.log", "access.log.1.gz", "access.log.2.gz", "access.log.3.gz"}
    assert done["freed_bytes"] == 9000


def test_of_one_age_the_higher_number_goes_first(clean: Clean, tmp_path: Path) -> None:
    paths = [write(tmp_path, f"access.log.{number}") for number in (2, 9, 10)]
    for path in paths:
        os.utime(path, (1_700_000_000, 1_700_000_000))
    clean(tmp_path, keep_days=100_000, keep_bytes=2000)
    assert names(tmp_path) == {"access.log.2", "access.log.9"}


@pytest.mark.parametrize(
    "name",
    [
        "access.log.1",
        "access.log.1234",
        "access.log.7.gz",
        "access.log-20200101",
        "access.log-20200101.gz",
        "access.log.2020-01-01",
        "access.log-2020010203.bz2",
        "access-2020-01-01.log.xz",
        "access_20200101.log.zst",
        "shop.example.org.log.3",
    ],
)
def test_each_form_of_rotation_is_recognised(clean: Clean, tmp_path: Path, name: str) -> None:
    write(tmp_path, name, days=400)
    write(tmp_path, "access.log")
    write(tmp_path, "shop.example.org.log")
    clean(tmp_path)
    assert names(tmp_path) == {"access.log", "shop.example.org.log"}


@pytest.mark.parametrize(
    "name", ["access.log", "notes.txt", "access.log.gz", "access.log.old", "access.log.1.txt", "data.1", "access.log.12345"]
)
def test_anything_else_is_left_alone(clean: Clean, tmp_path: Path, name: str) -> None:
    write(tmp_path, name, days=400)
    assert clean(tmp_path, keep_days=0, keep_bytes=0)["found"] == 0
    assert names(tmp_path) == {name}


def test_links_and_directories_are_left_alone(clean: Clean, tmp_path: Path) -> None:
    target = write(tmp_path, "precious.txt", days=400)
    (tmp_path / "access.log.1").symlink_to(target)
    (tmp_path / "access.log.2").mkdir()
    clean(tmp_path, keep_days=0, keep_bytes=0)
    assert names(tmp_path) == {"precious.txt", "access.log.1", "access.log.2"}


def test_the_newest_dated_log_is_live_where_there_is_no_other(clean: Clean, tmp_path: Path) -> None:
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        write(tmp_path, f"access-{day}.log")
    clean(tmp_path, keep_days=0, keep_bytes=0)
    assert names(tmp_path) == {"access-2026-01-03.log"}


def test_the_date_in_the_name_wins_over_the_files_time(clean: Clean, tmp_path: Path) -> None:
    write(tmp_path, "access.log")
    write(tmp_path, "access.log-20200101.gz", days=0)
    write(tmp_path, "access.log-20209999.gz", days=1)  # no date: the file's time counts
    clean(tmp_path)
    assert names(tmp_path) == {"access.log", "access.log-20209999.gz"}


def test_a_dry_run_removes_nothing_and_says_what_it_would(logs: ModuleType, taskq_fleet: Fleet, tmp_path: Path) -> None:
    write(tmp_path, "access.log.1", days=20)
    run = taskq_fleet.run(logs.clean_logs, folder=str(tmp_path), dry_run=True)
    assert (run.result["removed"], run.result["dry_run"]) == (1, True)
    assert names(tmp_path) == {"access.log.1"}
    assert [line["text"] for line in run.logs()] == ["would remove access.log.1: 1,000 bytes, 20.0 days old"]


def test_a_second_run_finds_nothing_to_do(clean: Clean, tmp_path: Path) -> None:
    for number in range(1, 30):
        write(tmp_path, f"access.log.{number}", days=number)
    assert clean(tmp_path, keep_bytes=5000)["removed"] == 24
    assert clean(tmp_path, keep_bytes=5000)["removed"] == 0


def test_a_file_that_got_a_removed_ones_name_meanwhile_stays(logs: ModuleType, tmp_path: Path) -> None:
    old = write(tmp_path, "access.log.2", days=40)
    (seen,) = logs.find_rotated(tmp_path)
    old.rename(tmp_path / "access.log.3")
    write(tmp_path, "access.log.2", days=1)
    assert not logs.remove(seen)
    assert names(tmp_path) == {"access.log.2", "access.log.3"}


def test_a_file_that_is_gone_meanwhile_is_not_counted(logs: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, "access.log.2", days=40)
    (seen,) = logs.find_rotated(tmp_path)
    seen.path.unlink()
    assert not logs.remove(seen)


def test_a_missing_directory_is_named(clean: Clean, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no directory .*/nowhere"):
        clean(tmp_path / "nowhere")


@pytest.mark.parametrize("limits", [{"keep_days": -1}, {"keep_bytes": -1}])
def test_negative_limits_are_refused(clean: Clean, tmp_path: Path, limits: dict[str, int]) -> None:
    write(tmp_path, "access.log.1")
    with pytest.raises(ValueError, match="must not be negative"):
        clean(tmp_path, **limits)
    assert names(tmp_path) == {"access.log.1"}


def test_the_sample_data_is_cut_by_both_limits(clean: Clean, example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    example("make_data").main([str(tmp_path), "--only", "logs"])
    folder = tmp_path / "logs"
    before = names(folder)

    by_age = clean(folder, keep_bytes=10**9)
    both = clean(folder)

    assert by_age["removed"] > 5 and both["removed"] >= 1 and both["kept_bytes"] <= 500_000
    assert "access.log" in names(folder) < before
    for path in folder.glob("*.gz"):
        assert b"HTTP/1.1" in gzip.decompress(path.read_bytes())


def test_it_runs_each_night_at_three(logs: ModuleType, taskq_fleet: Fleet) -> None:
    taskq_fleet.clock.set("2026-11-22T02:59:59Z")
    taskq_fleet.register(logs)
    taskq_fleet.assert_enqueued("clean_logs", times=0)
    taskq_fleet.clock.advance("1s")
    taskq_fleet.assert_enqueued("clean_logs", times=1, folder="var/logs")
    taskq_fleet.clock.advance("7d")
    taskq_fleet.assert_enqueued("clean_logs", times=8)


def test_a_run_that_is_lost_when_it_is_done_does_no_harm(logs: ModuleType, taskq_fleet: Fleet, tmp_path: Path) -> None:
    for number in (1, 20):
        write(tmp_path, f"access.log.{number}", days=number)
    taskq_fleet.lose(logs.clean_logs, done=True)
    run = taskq_fleet.run(logs.clean_logs, folder=str(tmp_path))
    assert (run.attempt, run.result["found"], run.result["removed"]) == (2, 1, 0)
    assert names(tmp_path) == {"access.log.1"}
