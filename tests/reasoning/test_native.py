"""Machine code kept on disk never outlives the sources it was made from, in whichever file of the folder they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CALLEE = "from reasoning.native import compiled\n\n@compiled\ndef callee(x: float) -> float:\n    return x * {factor}\n"
CALLER = "from callee import callee\nfrom reasoning.native import compiled\n\n@compiled\ndef caller(x: float) -> float:\n    return callee(x) + 1.0\n"


def said_by_a_fresh_process(folder: Path) -> str:
    """The caller's answer to 10, its machine code kept in the folder."""
    command = [sys.executable, "-c", "from caller import caller; print(caller(10.0), sum(caller.stats.cache_hits.values()))"]
    places = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": places}, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_a_change_in_a_called_function_of_another_file_is_heard(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "callee.py").write_text(CALLEE.format(factor="2.0"))
    assert said_by_a_fresh_process(tmp_path) == "21.0 0"
    assert said_by_a_fresh_process(tmp_path) == "21.0 1"
    (tmp_path / "callee.py").write_text(CALLEE.format(factor="3.0"))
    assert said_by_a_fresh_process(tmp_path) == "31.0 0"
