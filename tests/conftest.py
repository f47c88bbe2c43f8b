"""Fixtures of every room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.neo4j_server import Neo4jServer, neo4j_for_tests


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """A real Neo4j, one for all tests of a run. Whoever uses it empties it first."""
    with neo4j_for_tests(tmp_path_factory.mktemp("neo4j")) as server:
        yield server
