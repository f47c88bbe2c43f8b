"""Our top-level package names are short; nobody else may own them in the same environment."""

from __future__ import annotations

from importlib.metadata import packages_distributions

import pytest

ROOMS = ("schema", "graph", "ingest", "reasoning", "agent", "api", "demo")


@pytest.mark.parametrize("room", ROOMS)
def test_no_other_distribution_owns_our_package_name(room: str) -> None:
    assert set(packages_distributions().get(room, ["whence"])) == {"whence"}
