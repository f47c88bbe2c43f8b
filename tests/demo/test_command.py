"""`python -m demo` as its callers use it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from demo.__main__ import command
from demo.faults import FAULTS


def test_faults_are_listed_a_line_each_name_first() -> None:
    listed = CliRunner().invoke(command(), ["--list-faults"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [fault.name for fault in FAULTS]
    assert len(FAULTS) >= 10


def test_an_unknown_fault_is_trouble_and_names_the_known_ones() -> None:
    refused = CliRunner().invoke(command(), ["--fault", "gremlins"])
    assert refused.exit_code == 2
    assert "There is no fault 'gremlins': choose one of slow_query, lock_contention" in refused.stderr


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "demo", *arguments], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_real_server_names_a_slow_query_and_the_answer_is_one_json_object() -> None:
    done = demo("--once", "--json", "--fault", "slow_query", "--seed", "1")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict_correct"] is True
    assert told["fault"]["defect"] == told["root_causes"][0]["defect"] == "slow_query"
    assert 0 < told["seconds_to_verdict"] <= 60
    assert told["false_incidents"] == []


@pytest.mark.slow
def test_what_is_not_a_terminal_gets_lines_and_an_end() -> None:
    done = demo("--fault", "external_outage")
    assert done.returncode == 0, done.stderr
    assert "fault injected: external_outage" in done.stdout
    assert done.stdout.rstrip().endswith("Whence is right.")
