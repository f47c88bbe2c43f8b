"""docs/graph/py2neo.md: its program reads our graph, and py2neo's limits are those the page tells of."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from graph.neo4j_store import Neo4jGraphStore
from graph.topology import Entity, Relation, RelationKey, RelationStatistics
from schema.identity import EntityRef
from tests.neo4j_server import Neo4jServer, empty

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "py2neo" / "bin" / "python"
PAGE = ROOT / "docs" / "graph" / "py2neo.md"
MS = 1_000_000
CART, ORDERS = EntityRef("service", "c", "shop", "cart"), EntityRef("service", "c", "shop", "orders")
LIMITS = """
import datetime, json, os
from py2neo import Graph
uri, user, password = (os.environ[name] for name in ("NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD"))
graph = Graph(uri, auth=(user, password))

def trouble(work):
    try:
        work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"

zone = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
print(json.dumps({
    "protocol": [list(each.protocol_version) for pool in graph.service.connector._pools.values() for each in pool._free_list],
    "password": trouble(lambda: Graph(uri, auth=(user, "not-the-password")).run("RETURN 1")),
    "zone": trouble(lambda: graph.evaluate("RETURN $at", at=zone)),
    "naive": trouble(lambda: graph.evaluate("RETURN $at", at=zone.replace(tzinfo=None))),
    "indexes": trouble(lambda: graph.schema.get_indexes("Entity")),
}))
"""


def answer(server: Neo4jServer, program: str) -> Any:
    if not PYTHON.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("py2neo is not installed: run make py2neo.")
    address = server.address
    uri = address.uri.replace("neo4j://", "bolt://", 1)
    known = {**os.environ, "NEO4J_URI": uri, "NEO4J_USER": address.user, "NEO4J_PASSWORD": address.password}
    done = subprocess.run([str(PYTHON), "-c", program], env=known, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_the_program_of_the_page_reads_our_graph(neo4j_server: Neo4jServer) -> None:
    await empty(neo4j_server.address)
    store = Neo4jGraphStore(neo4j_server.address)
    await store.ensure_schema()
    await store.upsert_entities([Entity(ref, {"service.version": "2"}, ("t",), MS, MS) for ref in (CART, ORDERS)])
    await store.upsert_relations([Relation(RelationKey(CART, "calls", ORDERS), ("t",), 0.9, MS, 2 * MS, RelationStatistics(60.0, 10, 1, 2.5))])
    await store.close()
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    assert answer(neo4j_server, found.group(1)) == {
        "id": str(CART),
        "labels": ["Entity", "Service"],
        "called": [str(ORDERS)],
        "rows": [{"caller": str(CART), "callee": str(ORDERS), "requests": 10}],
    }


def test_its_limits_are_those_the_page_tells_of(neo4j_server: Neo4jServer) -> None:
    seen = answer(neo4j_server, LIMITS)
    assert seen.pop("protocol") == [[4, 3]]
    assert seen.pop("password") == "ConnectionUnavailable: Connection has been closed"
    assert seen.pop("zone").startswith("TypeError: ")
    assert seen.pop("naive") == "none"
    assert "no procedure with the name `db.indexes`" in seen.pop("indexes")
