"""Machine code is compiled before the first test, so that no example pays for it."""

from __future__ import annotations

import pytest

from reasoning.prepare import prepare


@pytest.fixture(scope="session", autouse=True)
def _prepared() -> None:
    prepare(lambda _: None)
