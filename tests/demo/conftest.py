"""A quiet stretch of the estate, lived once for all tests that look at it."""

from __future__ import annotations

import pytest

from tests.demo.living import Run, live


@pytest.fixture(scope="session")
def quiet() -> Run:
    """45 s without a fault, seed 1."""
    return live(45.0)
