"""`whence knowledge`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.cli import main


def overlay(folder: Path) -> Path:
    (folder / "mine.yaml").write_text("kind: database\ndefects:\n  slow_query: {prior_per_hour: 0.02}\n")
    return folder


def test_list_tells_kinds_with_defects_and_guesses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["knowledge", "list"]) == 0
    assert "slow_query, lock_contention" in capsys.readouterr().out


def test_show_tells_a_defect_with_remedy_risk_and_owner(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["knowledge", "show", "database.slow_query"]) == 0
    out = capsys.readouterr().out
    assert "0.001 an hour (guess)" in out
    assert "Risk: Building an index loads the database." in out
    assert "usual owner: the team that runs the database" in out
    assert "lock_contention" not in out


def test_show_of_what_is_not_there_says_what_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["knowledge", "show", "database.haunted"]) == 1
    assert "slow_query" in capsys.readouterr().err
    assert main(["knowledge", "show", "castle"]) == 1
    assert "database" in capsys.readouterr().err


def test_diff_tells_each_number_that_an_overlay_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["knowledge", "diff", str(overlay(tmp_path)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"rule": "database.defects.slow_query.prior_per_hour", "before": "0.001", "after": "0.02"}]


def test_show_follows_an_overlay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["knowledge", "show", "database.slow_query", "--knowledge", str(overlay(tmp_path)), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["database.defects.slow_query.prior_per_hour"] == "0.02"
    assert shown["database.slow_query -> latency_high"] == "0.95"


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["knowledge", "schema"]) == 0
    assert "defect" in json.loads(capsys.readouterr().out)["$defs"]


def test_a_broken_overlay_is_refused_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("kind: database\ndefects:\n  slow_query: {prior_per_hour: 2}\n")
    assert main(["knowledge", "list", "--knowledge", str(tmp_path)]) == 2
    assert "mine.yaml:3: a probability between 0 and 1 is needed here, not 2." in capsys.readouterr().err


def test_test_runs_examples_and_linter_and_fails_for_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["knowledge", "test"]) == 0
    out = capsys.readouterr().out
    assert "note: unused attribute: pool_pending" in out
    assert "numbers are guesses" in out
    text = 'kind: node\ndefects:\n  down: {remedies: [{action: Look., effect: "?", risk: None.}]}\n'
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["knowledge", "test", "--knowledge", str(tmp_path)]) == 1
    assert "fault: remedy without effect or risk: node.down" in capsys.readouterr().out
