"""`whence doctor --knowledge`: a folder of rules and its worked examples."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from api.cli import main

RULES = """\
kind: node
conditions:
  not_ready: {summary: The machine is not ready., attribute: node_ready, detector: not_ready}
defects:
  down:
    summary: The machine stopped.
    prior_per_hour: 0.0003
    source: guess
    causes: {not_ready: 0.9}
    remedies: [{action: Replace it., effect: It is back., risk: None.}]
tests:
  - name: a machine that is down is not ready
    entities: ["node:c//n1"]
    causes: ["node:c//n1.down"]
    symptoms: {"node:c//n1.not_ready": 0.99}
"""


def test_the_packaged_knowledge_is_examined_without_a_server(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    code = main(["doctor", "--knowledge", "--json"])
    report = orjson.loads(capsysbinary.readouterr().out)
    assert code == (0 if report["passed"] else 1)
    assert {"name", "location", "passed", "detail"} <= report["examples"][0].keys()


def test_a_failing_worked_example_is_told_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "node.yaml").write_text(RULES)
    assert main(["doctor", "--knowledge", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "node.yaml:" in out
    assert "(wanted 0.99)" in out
    assert "worked examples hold" in out
    assert "schema/causal/node.yaml" in out  # the packaged example too, which the weaker link breaks


def test_a_broken_rule_file_is_told_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "node.yaml").write_text("kind: nodule\n")
    assert main(["doctor", "--knowledge", str(tmp_path)]) == 2
    assert "node.yaml:1" in capsys.readouterr().err
