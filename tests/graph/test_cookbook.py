"""docs/graph/cookbook.md: each query, as it stands there, answered by the demo's graph after a bad deployment."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from neo4j import Driver, GraphDatabase

from api.graph_writer import WriterLimits
from api.pipeline import Pipeline
from api.runtime import Runtime
from graph.neo4j_store import Neo4jGraphStore
from graph.topology import Entity, Relation, RelationKey
from ingest.otlp.files import read_recording
from schema.identity import EntityRef
from schema.loader import load_knowledge
from tests.neo4j_server import Neo4jServer, empty

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "graph" / "cookbook.md"
QUERIES = dict(re.findall(r"^### (.+?)\n.*?^```cypher\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE))
START = 1_767_600_000_000
INJECTED = START + 120_000
PATIENCE = 120.0  # a replay is faster than the store, and has no journal that would keep what it does not take at once
WEST, CENTRAL = "service:eu-west/shop/", "service:eu-central/shop/"
ORDERS, GATEWAY = "database:eu-central/shop/orders-db/orders", "external_service://api.cardgate.example"
CATALOGUE, PRODUCTS = "database:eu-west/shop/catalogue-db/catalogue", "cache:eu-west/shop/product-cache"
INVENTORY = f"{CENTRAL}inventory"
RING = [EntityRef("service", "planted", "ring", name) for name in ("a", "b")]
POD, NODE = EntityRef("pod", "planted", "ring", "a-1"), EntityRef("node", "planted", "", "n")
# Of each query: what it is asked with, and rows that must be in its answer.
CASES: dict[str, tuple[dict[str, Any], list[list[Any]]]] = {
    "Blast radius": ({"id": ORDERS}, [[INVENTORY, 1], [f"{WEST}storefront", 2], [f"{WEST}cart", 2]]),
    "Exactly three hops away": ({"id": GATEWAY}, [[f"{WEST}storefront"]]),
    "Most dependants": ({}, [[ORDERS, 4], [CATALOGUE, 3], [PRODUCTS, 3]]),
    "Shared single points of failure": ({}, []),
    "What two services share": ({"one": f"{WEST}catalogue", "other": f"{WEST}recommendation"}, [[CATALOGUE], [PRODUCTS]]),
    "The way from one to another": ({"one": f"{WEST}storefront", "other": ORDERS}, []),
    "Cycles of calls": ({}, [[[str(RING[0]), str(RING[1]), str(RING[0])]]]),
    "Calls across clusters": ({}, []),
    "Services on a node": ({"id": str(NODE)}, [[str(RING[0])]]),
    "Services all of whose pods stand on one node": ({}, [[str(RING[0]), 1, str(NODE)]]),
    "Seen by one source only": ({}, [["planted", "CALLS", 2]]),
    "Stale edges": ({"now": START + 210_000}, [[str(RING[0]), "CALLS", str(RING[1]), START]]),
    "Calls that fail most": ({}, []),
    "Slowest calls": ({}, []),
    "What changed before an incident": ({"incident": "code_regression"}, [[INJECTED + 10_000, INVENTORY, "service.version: 2.0.11 -> 2.1.0"]]),
    "What was done before an incident": ({"incident": "code_regression"}, [[INVENTORY, "deploy", "service.version 2.0.11 -> 2.1.0"]]),
    "Why an incident is believed": ({"incident": "code_regression"}, [[INVENTORY, "behaviour_changed"]]),
    "What an incident takes down": ({"incident": "code_regression"}, [[f"{CENTRAL}checkout", "errors_high"]]),
    "Kinds of change that incidents follow": ({}, [["deploy", 1, 1]]),
    "What an attribute depends on": ({"attribute": f"{INVENTORY}.latency"}, [[INVENTORY, "own_time", 0.95]]),
    "What moves when this moves": ({"id": ORDERS}, [[f"{CENTRAL}checkout"]]),
    "The way from a symptom to its cause": ({"incident": "code_regression"}, [[[f"{CENTRAL}checkout.error_ratio", f"{INVENTORY}.error_ratio"], ["calls"]]]),
    "Which attributes show an incident": ({"incident": "code_regression"}, [[INVENTORY, "error_ratio", "1", ["errors_high"]]]),
    "Blind spots": ({}, [["service", "work_failing"], ["pod", "starved_of_cpu"]]),
    "Incidents by defect": ({}, []),
    "Whom an incident shows at": ({"incident": "code_regression"}, [["endpoint:eu-west/shop/storefront POST /checkout", ["errors_high"]]]),
    "An entity as it was": ({"id": INVENTORY, "at": INJECTED}, [[INVENTORY, "2.0.11"]]),
    "What appeared since": ({"since": INJECTED}, []),
    "Services without an owner": ({}, [[f"{CENTRAL}payment"]]),
    "Teams whose services have no objective": ({}, [["baskets", [f"{WEST}cart"]]]),
}


@pytest.fixture(scope="module")
def shop(neo4j_server: Neo4jServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """The demo's estate, recorded and replayed into Neo4j; beside it what the demo lacks, and another program's nodes."""
    recording = tmp_path_factory.mktemp("shop") / "run.pb.gz"
    plan = ("--minutes", "3.7", "--fault", "bad_deploy", "--inject-at-minute", "2")
    subprocess.run([sys.executable, "-m", "demo.estate", "--record", str(recording), *plan], check=True, stdout=subprocess.DEVNULL, cwd=PAGE.parents[2])
    asyncio.run(_replay(recording, neo4j_server))
    address = neo4j_server.address
    with GraphDatabase.driver(address.uri, auth=(address.user, address.password), notifications_min_severity="OFF") as driver:
        driver.execute_query("MATCH (s:Service {id: $id}) CREATE (:Team {name: 'baskets'})-[:OWNS]->(s)", id=f"{WEST}cart")
        yield driver
        driver.execute_query("MATCH (t:Team) DETACH DELETE t")


async def _replay(recording: Path, server: Neo4jServer) -> None:
    await empty(server.address)
    runtime = Runtime(Pipeline(load_knowledge(None)), Neo4jGraphStore(server.address), limits=WriterLimits(patience=PATIENCE))
    await runtime.start()
    for batch in read_recording([recording]):
        await runtime.take(batch)
    await runtime.stop()
    store, at = Neo4jGraphStore(server.address), START * 1_000_000
    await store.ensure_schema()
    await store.upsert_entities([Entity(ref, {}, ("planted",), at, at) for ref in (*RING, POD, NODE)])
    keys = [RelationKey(RING[0], "calls", RING[1]), RelationKey(RING[1], "calls", RING[0])]
    keys += [RelationKey(RING[0], "runs_on", POD), RelationKey(POD, "runs_on", NODE)]
    await store.upsert_relations([Relation(key, ("planted",), 1.0, at, at, None) for key in keys])
    await store.close()


def answer(shop: Driver, name: str, parameters: dict[str, Any]) -> list[list[Any]]:
    asked = dict(parameters)
    if defect := asked.get("incident"):
        asked["incident"] = shop.execute_query("MATCH (i:Incident {defect: $defect}) RETURN i.id AS id", defect=defect).records[0]["id"]
    return [list(record.values()) for record in shop.execute_query(QUERIES[name], asked).records]


def test_every_query_of_the_page_has_a_case_and_there_are_twenty() -> None:
    assert set(QUERIES) == set(CASES)
    assert len(QUERIES) >= 20
    assert len(re.findall(r"^```cypher", PAGE.read_text(), re.MULTILINE)) == len(QUERIES)


@pytest.mark.parametrize("name", CASES)
def test_a_query_of_the_page_finds_what_it_promises(shop: Driver, name: str) -> None:
    parameters, expected = CASES[name]
    rows = answer(shop, name, parameters)
    assert rows
    assert [row for row in expected if row not in [each[: len(row)] for each in rows]] == []


def test_answers_that_depend_on_the_whole_estate(shop: Driver) -> None:
    shared = {row[0]: len(row[1]) for row in answer(shop, "Shared single points of failure", {})}
    assert shared == {ORDERS: 4, CATALOGUE: 3, PRODUCTS: 3}
    ways = answer(shop, "The way from one to another", CASES["The way from one to another"][0])
    assert (ways[0][0][0], ways[0][0][-1], len(ways[0][0])) == (f"{WEST}storefront", ORDERS, 3)
    across = {(caller, callee) for caller, callee, _ in answer(shop, "Calls across clusters", {})}
    assert across == {
        (f"{CENTRAL}checkout", f"{WEST}cart"),
        (f"{WEST}cart", INVENTORY),
        (f"{WEST}storefront", f"{CENTRAL}account"),
        (f"{WEST}storefront", f"{CENTRAL}checkout"),
    }
    assert INVENTORY in {row[1] for row in answer(shop, "Calls that fail most", {})[:4]}
    assert GATEWAY in {row[1] for row in answer(shop, "Slowest calls", {})[:3]}
    assert ["code_regression", "service", 1] in [row[:3] for row in answer(shop, "Incidents by defect", {})]
    taken_down = answer(shop, "What an incident takes down", {"incident": "code_regression"})
    assert {f"{CENTRAL}checkout", f"{WEST}storefront"} <= {row[0] for row in taken_down if row[1] == "errors_high"}
    shown = {
        (entity, condition) for entity, conditions, *_ in answer(shop, "Whom an incident shows at", {"incident": "code_regression"}) for condition in conditions
    }
    assert (f"{CENTRAL}checkout", "errors_high") in shown
    assert [seen for *_, seen in taken_down] == [(service, condition) in shown for service, condition, *_ in taken_down]
    assert answer(shop, "Why an incident is believed", {"incident": "code_regression"})[0][2] > 0.1
    assert {"pod", "container"} == {row[0] for row in answer(shop, "What appeared since", {"since": INJECTED})}
    assert [f"{WEST}cart"] not in answer(shop, "Services without an owner", {})
