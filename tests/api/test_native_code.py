"""A machine on which the inference can't be compiled is told so in one line, with exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LONG = 120.0
COMMAND = "from api.cli import main; raise SystemExit(main())"
BROKEN = {
    "missing": "raise ModuleNotFoundError(\"No module named 'numba'\", name='numba')",
    "without its library": "raise OSError('Could not find/load shared object file: libllvmlite.so')",
    "of another numpy": "raise AttributeError(\"module 'numpy' has no attribute 'long'\")",
}


SERVE = ["serve", "--http", ":0", "--otlp-grpc", ":0", "--otlp-http", ":0", "--store", "memory"]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "how"), [*((SERVE, how) for how in BROKEN), (["replay", "."], "missing"), (["doctor", "--knowledge"], "missing")])
def test_without_a_working_numba_every_command_that_reasons_says_what_to_install(command: list[str], how: str, tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text(BROKEN[how])
    done = run(command, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("whence: The inference can't be compiled, for numba is missing or does not work here")
    assert done.stderr.rstrip().endswith("pip install --force-reinstall numba llvmlite")


@pytest.mark.slow
def test_a_numba_that_compiles_nothing_is_told_before_anything_is_served(tmp_path: Path) -> None:
    broken = "import numba.core.errors, reasoning.prepare as p\ndef fails():\n    raise numba.core.errors.LoweringError('no target machine')\np._first_windows = fails\n"
    done = run(["serve", "--http", ":0", "--otlp-grpc", ":0", "--otlp-http", ":0", "--data-dir", str(tmp_path / "data")], tmp_path, broken)
    assert (done.returncode, done.stdout) == (2, "")
    assert "LoweringError: no target machine" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def run(command: list[str], folder: Path, first: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", first + COMMAND, *command], capture_output=True, text=True, timeout=LONG, check=False, env=environment)
