"""Each implementation of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from graph.memory_store import MemoryGraphStore
from graph.neo4j_store import Neo4jGraphStore
from graph.sqlite_store import SqliteGraphStore
from graph.store import GraphStore
from tests.neo4j_server import Neo4jServer, empty


@pytest_asyncio.fixture(params=["memory", "sqlite", pytest.param("neo4j", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GraphStore]:
    opened: GraphStore = MemoryGraphStore() if request.param == "memory" else SqliteGraphStore(tmp_path / "whence.db")
    if request.param == "neo4j":
        server: Neo4jServer = request.getfixturevalue("neo4j_server")
        await empty(server.address)
        opened = Neo4jGraphStore(server.address)
    await opened.ensure_schema()
    yield opened
    await opened.close()
