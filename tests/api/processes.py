"""Whence in processes of its own, for tests that end them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import graph

ROOT = Path(graph.__file__).parent.parent


def python(*arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """A Python of ours, its output to be read."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    )


def whence(*words: object, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """`whence` with these words."""
    return python("-c", "import sys; from api.cli import main; sys.exit(main())", *words, environment=environment)


def check(directory: Path, environment: Mapping[str, str] | None = None) -> dict[str, object]:
    """What `whence store check` finds."""
    with whence("store", "check", "--data-dir", directory, "--json", environment=environment) as checking:
        said, trouble = checking.communicate(timeout=120)
    assert said, trouble
    found: dict[str, object] = json.loads(said)
    return found
