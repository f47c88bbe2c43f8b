"""Stretches of the estate's life, lived once for all tests that look at them."""

from __future__ import annotations

import pytest

from tests.demo.living import Run, live


@pytest.fixture(scope="session")
def quiet() -> Run:
    """45 s without a fault, seed 1."""
    return live(45.0)


@pytest.fixture(scope="session")
def leaking() -> Run:
    """A memory leak from 10 s on, until processes have died and started again."""
    return live(130.0, fault="memory_leak", inject_at=10.0)
