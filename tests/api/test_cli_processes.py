"""What only a process of its own can show: the same bytes under any hash seed, and the demo in our place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.recordings import shop_lines, write_lines

LONG = 120.0
COMMAND = [sys.executable, "-c", "from api.cli import main; raise SystemExit(main())"]


def run(*arguments: str, seed: str = "0") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=LONG, check=False, env={**os.environ, "PYTHONHASHSEED": seed})


@pytest.mark.slow
def test_a_replay_prints_the_same_bytes_under_any_hash_seed(tmp_path: Path) -> None:
    recording = str(write_lines(tmp_path / "traces.jsonl", shop_lines(420, slow_from=330, rate=2)))
    first, second = (run("replay", recording, "--json", "--at", "2026-02-25T06:19:00Z", "--at", "2026-02-25T06:20:00Z", seed=seed) for seed in ("1", "2"))
    assert first.returncode == second.returncode == 0
    assert len(first.stdout.splitlines()) == 2
    assert first.stdout == second.stdout


@pytest.mark.slow
def test_the_demo_gets_its_arguments_and_gives_its_exit_code() -> None:
    listed = run("demo", "--list-faults")
    assert listed.returncode == 0, listed.stderr
    assert len(listed.stdout.splitlines()) >= 10
    refused = run("demo", "--fault", "no-such-fault", "--once")
    assert refused.returncode == 2


@pytest.mark.slow
def test_a_replay_that_is_interrupted_says_nothing_more(tmp_path: Path) -> None:
    fifo = tmp_path / "traces.jsonl"
    os.mkfifo(fifo)
    # Opening waits for the reader: it is replaying then, and waits for a first line.
    with subprocess.Popen([*COMMAND, "replay", str(fifo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process, fifo.open("wb"):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out, err) == (130, b"", b"")
