"""Trouble with real processes: a disk that fills up, a kill in the middle, two servers on one store. `whence store check` is the judge."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path

import pytest

from graph.sqlite_schema import MIGRATIONS
from tests.api.processes import check, python, whence

pytestmark = pytest.mark.slow
SERVE = ["serve", "--http", ":0", "--otlp-grpc", ":0", "--otlp-http", ":0", "--json"]

LIVING = ["-m", "tests.api.living"]


def incidents(directory: Path) -> list[str]:
    database = sqlite3.connect(directory / "whence.db")
    found = [row[0] for row in database.execute("select id from incident order by opened_at")]
    database.close()
    return found


@pytest.mark.parametrize("windows", [3, 17])
def test_killed_in_the_middle_nothing_that_was_safe_is_lost_and_nothing_doubled(tmp_path: Path, windows: int) -> None:
    with python(*LIVING, tmp_path, 10_000) as living:
        assert living.stdout is not None
        for _ in range(windows):
            living.stdout.readline()
        living.send_signal(signal.SIGKILL)
        last = max([windows, *(int(line.split()[0]) for line in living.stdout.read().splitlines())])
    with python(*LIVING, tmp_path, 1) as again:
        said, trouble = again.communicate(timeout=120)
    assert said.endswith("whole {}\n"), trouble
    assert [f"i{number:06}" for number in range(1, last + 1)] == incidents(tmp_path)[:last]
    assert check(tmp_path)["problems"] == []


def test_a_disk_that_fills_up_and_is_mended_loses_nothing(tmp_path: Path) -> None:
    with python(*LIVING, tmp_path, 120, 400_000) as living:
        said, trouble = living.communicate(timeout=300)
    assert said.splitlines()[-1:] == ["whole {}"], trouble
    states = [line.split()[1] for line in said.splitlines()[:-1]]
    assert (states[0], states[-1]) == ("False", "True"), "the disk did fill up"
    assert incidents(tmp_path) == [f"i{number:06}" for number in range(1, 121)]
    assert check(tmp_path)["problems"] == []


def test_a_second_server_on_one_store_refuses_and_leaves_the_first_alone(tmp_path: Path) -> None:
    with whence(*SERVE, "--data-dir", tmp_path) as first:
        try:
            assert first.stdout is not None
            assert json.loads(first.stdout.readline())["ready"]
            with whence(*SERVE, "--data-dir", tmp_path) as second:
                _, told = second.communicate(timeout=120)
            assert (second.returncode, f"in use by another whence (pid {first.pid})" in told) == (2, True)
            assert check(tmp_path)["problems"] == []
            first.send_signal(signal.SIGTERM)
            assert first.wait(60) == 0
        finally:
            first.kill()
    assert check(tmp_path)["problems"] == []


def test_a_store_of_a_newer_whence_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "whence.db")
    database.execute(f"pragma user_version = {len(MIGRATIONS) + 1}")
    database.close()
    before = (tmp_path / "whence.db").read_bytes()
    for words in (SERVE, ["store", "check"], ["store", "migrate"]):
        with whence(*words, "--data-dir", tmp_path) as refused:
            _, told = refused.communicate(timeout=120)
        assert (refused.returncode, f"has layout {len(MIGRATIONS) + 1}" in told) == (2, True)
    assert (tmp_path / "whence.db").read_bytes() == before
