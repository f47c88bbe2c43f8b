"""GraphQL over the estate: entities, pages, topology, now and in the past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.graphql.arguments import cursor
from api.graphql.context import Context
from api.graphql.entity_index import EntityIndex
from api.graphql.limits import TOPOLOGY_ENTITIES
from api.graphql.query_estate import truncate
from api.runtime import Runtime
from graph.memory_store import MemoryGraphStore
from graph.sqlite_store import SqliteGraphStore
from graph.store import StoreUnavailableError
from graph.topology import Entity, EntityObservation, Relation, RelationKey, RelationObservation, Snapshot, TopologyDelta
from schema.identity import EntityRef
from tests.api import synthetic_estate as estate
from tests.api.asking import ask, refused

ALL = ["database:c1/web/orders", "pod:c1/web/shop-1", "service:c1/web/cart", "service:c1/web/shop"]


@pytest.fixture
async def runtime() -> Runtime:
    return await estate.runtime()


async def test_an_entity_tells_who_it_is_and_what_is_known_of_it(runtime: Runtime) -> None:
    query = "{ entity(id: %s) { __typename id kind cluster namespace name service sources firstSeen lastSeen attributes { name value } } }"
    assert (await ask(runtime, query % '"service:c1/web/shop"'))["entity"] == {
        "__typename": "Entity",
        "id": "service:c1/web/shop",
        "kind": "service",
        "cluster": "c1",
        "namespace": "web",
        "name": "shop",
        "service": "service:c1/web/shop",
        "sources": ["otlp.resource", "otlp.traces"],
        "firstSeen": "2026-01-05T08:05:00Z",
        "lastSeen": "2026-01-05T08:05:00Z",
        "attributes": [{"name": "deployment.environment", "value": "test"}, {"name": "service.version", "value": "1.2"}],
    }
    assert (await ask(runtime, '{ entity(id: "pod:c1/web/shop-1") { service } }'))["entity"] == {"service": "service:c1/web/shop"}
    assert (await ask(runtime, '{ entity(id: "database:c1/web/orders") { service } }'))["entity"] == {"service": None}


async def test_an_entity_at_an_instant_is_the_stores(runtime: Runtime) -> None:
    shop = next(entity for entity in runtime.pipeline.graph.entities() if entity.ref == estate.SHOP)
    await runtime.store.upsert_entities([replace(shop, attributes={"service.version": "1.3"}, last_seen=estate.at(60))])
    query = '{ entity(id: "service:c1/web/shop", at: "%s") { attributes { name value } } }'
    before = await ask(runtime, query % "2026-01-05T08:05:30Z")
    after = await ask(runtime, query % "2026-01-05T09:06:30+01:00")
    assert {"name": "service.version", "value": "1.2"} in before["entity"]["attributes"]
    assert after["entity"]["attributes"] == [{"name": "service.version", "value": "1.3"}]


@pytest.mark.parametrize(
    ("query", "code", "hint"),
    [
        ('{ entity(id: "service:c1/web/nobody") { id } }', "NOT_FOUND", "entities(filter"),
        ('{ entity(id: "shop") { id } }', "BAD_USER_INPUT", "kind:cluster/namespace/name"),
        ('{ entity(id: "service:c1/web/shop", at: "2020-01-01T00:00:00Z") { id } }', "NOT_FOUND", "at that instant"),
        ('{ entity(id: "service:c1/web/shop", at: "yesterday") { id } }', "GRAPHQL_VALIDATION_FAILED", "ISO 8601"),
        ('{ topology(root: "service:c1/web/nobody") { root } }', "NOT_FOUND", "There is no entity"),
        ('{ topology(root: "nobody") { root } }', "BAD_USER_INPUT", "kind:cluster/namespace/name"),
        ('{ topology(root: "service:c1/web/shop", depth: 6) { root } }', "BAD_USER_INPUT", "from 1 to 5"),
        ('{ topology(root: "service:c1/web/shop", depth: 0) { root } }', "BAD_USER_INPUT", "from 1 to 5"),
        ("{ entities(first: 101) { edges { cursor } } }", "BAD_USER_INPUT", "from 1 to 100"),
        ("{ entities(first: 0) { edges { cursor } } }", "BAD_USER_INPUT", "from 1 to 100"),
        ("{ entities(last: -1) { edges { cursor } } }", "BAD_USER_INPUT", "from 1 to 100"),
        ("{ entities(first: 1, last: 1) { edges { cursor } } }", "BAD_USER_INPUT", "not both"),
        ('{ entities(first: 1, before: "eA==") { edges { cursor } } }', "BAD_USER_INPUT", "`before` goes with `last`"),
        ('{ entities(last: 1, after: "eA==") { edges { cursor } } }', "BAD_USER_INPUT", "`last` goes with `before`"),
        ('{ entities(first: 1, after: "eA==", before: "eA==") { edges { cursor } } }', "BAD_USER_INPUT", "not both"),
        ('{ entities(first: 1, after: "not a cursor") { edges { cursor } } }', "BAD_USER_INPUT", "is not a cursor"),
        ('{ entities(first: 1, after: "é") { edges { cursor } } }', "BAD_USER_INPUT", "is not a cursor"),
    ],
)
async def test_what_can_not_be_answered_is_refused_with_a_code_and_a_hint(runtime: Runtime, query: str, code: str, hint: str) -> None:
    assert hint in await refused(runtime, query, code)


async def pages(runtime: Runtime, size: int, *, backward: bool, filter_text: str = "") -> list[list[str]]:
    """Walks the connection to its end."""
    found: list[list[str]] = []
    place = None
    head = f"last: {size}, before" if backward else f"first: {size}, after"
    while True:
        query = f"query ($at: String) {{ entities(filter: {{text: {filter_text!r}}}, {head}: $at) {{ edges {{ cursor node {{ id }} }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
        page = (await ask(runtime, query.replace("'", '"'), {"at": place}))["entities"]
        nodes = [edge["node"]["id"] for edge in page["edges"]]
        found.append(nodes)
        info = page["pageInfo"]
        assert [edge["cursor"] for edge in page["edges"]][:1] == ([info["startCursor"]] if nodes else [])
        if not info["hasPreviousPage" if backward else "hasNextPage"]:
            return found
        place = info["startCursor" if backward else "endCursor"]


@settings(max_examples=25, deadline=None)
@given(names=st.sets(st.text("abcX/ é", min_size=1, max_size=4), max_size=12), size=st.integers(1, 5), backward=st.booleans())
async def test_pages_in_either_direction_hold_every_entity_once_in_order(names: set[str], size: int, backward: bool) -> None:
    runtime = await estate.runtime()
    refs = [EntityRef("topic", "c", "n", name) for name in sorted(names)]
    runtime.pipeline.graph.apply(TopologyDelta(estate.at(1), tuple(EntityObservation(ref, "test", estate.at(1), {}) for ref in refs), ()))
    walked = await pages(runtime, size, backward=backward)
    assert all(len(page) == size for page in walked[:-1])
    found = [node for page in (reversed(walked) if backward else walked) for node in page]
    assert found == sorted([*ALL, *map(str, refs)])


async def test_a_filter_chooses_by_kind_and_by_part_of_the_identity(runtime: Runtime) -> None:
    assert await pages(runtime, 100, backward=False, filter_text="SHOP") == [["pod:c1/web/shop-1", "service:c1/web/shop"]]
    answer = await ask(runtime, '{ entities(filter: {kind: "service"}) { edges { node { id } } } }')
    assert [edge["node"]["id"] for edge in answer["entities"]["edges"]] == ["service:c1/web/cart", "service:c1/web/shop"]


async def test_a_cursor_outlives_its_entity_and_expired_entities_are_passed_over(runtime: Runtime) -> None:
    runtime.pipeline.graph.expire(estate.at(16 * 60))
    answer = await ask(runtime, "query ($at: String) { entities(first: 5, after: $at) { edges { node { id } } } }", {"at": cursor("pod:c1/web/shop-1")})
    assert [edge["node"]["id"] for edge in answer["entities"]["edges"]] == ["service:c1/web/cart", "service:c1/web/shop"]
    assert await pages(runtime, 2, backward=False) == [["database:c1/web/orders", "service:c1/web/cart"], ["service:c1/web/shop"]]


def test_the_index_learns_of_entities_that_appear_later() -> None:
    from graph.live import LiveGraph  # noqa: PLC0415

    graph = LiveGraph()
    index = EntityIndex(graph)
    assert list(index.after(None, None, "")) == []
    graph.apply(estate.delta())
    assert [f"{entity.ref}" for entity in index.after(None, None, "")] == ALL
    assert [f"{entity.ref}" for entity in index.before(None, None, "")] == ALL[::-1]


async def test_identities_that_read_alike_do_not_hide_each_other_forever(runtime: Runtime) -> None:
    alike = [EntityRef("node", "arn:cluster/prod", "", "n1"), EntityRef("node", "arn:cluster", "prod", "/n1")]
    runtime.pipeline.graph.apply(TopologyDelta(estate.at(1), tuple(EntityObservation(ref, "test", estate.at(1), {}) for ref in alike), ()))
    assert await pages(runtime, 100, backward=False, filter_text="arn") == [["node:arn:cluster/prod//n1"]]


async def test_topology_shows_what_lies_around_an_entity_with_its_traffic(runtime: Runtime) -> None:
    query = """{ topology(root: "service:c1/web/shop") { at root truncated entities { id }
        relations { source kind target sources confidence firstSeen statistics { seconds requests errors requestRate errorRatio meanDurationSeconds } } } }"""
    found = (await ask(runtime, query))["topology"]
    assert (found["at"], found["root"], found["truncated"]) == ("2026-01-05T08:05:00Z", "service:c1/web/shop", False)
    assert [entity["id"] for entity in found["entities"]] == ["pod:c1/web/shop-1", "service:c1/web/cart", "service:c1/web/shop"]
    calls, runs_on = found["relations"]
    assert calls == {
        "source": "service:c1/web/shop",
        "kind": "calls",
        "target": "service:c1/web/cart",
        "sources": ["otlp.traces"],
        "confidence": 0.99,
        "firstSeen": "2026-01-05T08:05:00Z",
        "statistics": {"seconds": 5.0, "requests": 100, "errors": 3, "requestRate": 20.0, "errorRatio": 0.03, "meanDurationSeconds": 0.05},
    }
    assert (runs_on["kind"], runs_on["statistics"]) == ("runs_on", None)
    deeper = await ask(runtime, '{ topology(root: "service:c1/web/shop", depth: 5) { entities { id } } }')
    assert [entity["id"] for entity in deeper["topology"]["entities"]] == ALL


@pytest.mark.parametrize("kept", ["memory", "sqlite"])
async def test_topology_of_the_past_shows_what_has_gone_since(kept: str, tmp_path: Path) -> None:
    runtime = await estate.runtime(MemoryGraphStore() if kept == "memory" else SqliteGraphStore(tmp_path / "whence.db"))
    await runtime.store.expire([estate.CART], [], estate.at(60))
    query = '{ topology(root: "service:c1/web/shop", depth: 2, at: "%s") { at entities { id } } }'
    before = (await ask(runtime, query % "2026-01-05T08:05:59.999999999Z"))["topology"]
    after = (await ask(runtime, query % "2026-01-05T08:06:00Z"))["topology"]
    assert before["at"] == "2026-01-05T08:05:59.999999999Z"
    assert [entity["id"] for entity in before["entities"]] == ALL
    assert [entity["id"] for entity in after["entities"]] == ["pod:c1/web/shop-1", "service:c1/web/shop"]
    await runtime.store.close()


async def test_a_store_that_fails_is_said_to_fail(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailableError("the disk is full: free some space.")

    for verb in ("get", "neighbours", "incidents"):
        monkeypatch.setattr(runtime.store, verb, fail)
    for query in (
        '{ entity(id: "service:c1/web/shop", at: "2026-01-05T08:05:00Z") { id } }',
        '{ topology(root: "service:c1/web/shop", at: "2026-01-05T08:05:00Z") { root } }',
        "{ incidents { id } }",
    ):
        assert "the disk is full" in await refused(runtime, query, "STORE_UNAVAILABLE")


async def test_a_hub_is_cut_to_what_one_answer_may_hold_and_says_so(runtime: Runtime) -> None:
    spokes = [EntityRef("service", "c1", "hub", f"s{place:05}") for place in range(TOPOLOGY_ENTITIES + 10)]
    seen = tuple(RelationObservation(RelationKey(estate.SHOP, "calls", spoke), "test", estate.at(1), 0.9) for spoke in spokes)
    runtime.pipeline.graph.apply(TopologyDelta(estate.at(1), (), seen))
    found = (await ask(runtime, '{ topology(root: "service:c1/web/shop", depth: 5) { truncated entities { id } relations { target } } }'))["topology"]
    assert found["truncated"] is True
    assert len(found["entities"]) == TOPOLOGY_ENTITIES
    assert {"id": "service:c1/web/shop"} in found["entities"]
    assert {relation["target"] for relation in found["relations"]} <= {entity["id"] for entity in found["entities"]}


def _chain(length: int) -> Snapshot:
    refs = [EntityRef("service", "", "", f"s{place}") for place in range(length)]
    relations = [Relation(RelationKey(a, "calls", b), (), 1.0, 1, 1, None) for a, b in pairwise(refs)]
    return Snapshot(1, tuple(Entity(ref, {}, (), 1, 1) for ref in refs), tuple(relations))


def _names(entities: Sequence[Entity]) -> list[str]:
    return [entity.ref.name for entity in entities]


def test_the_nearest_entities_are_kept_and_no_relation_loses_an_end() -> None:
    kept, cut = truncate(_chain(9), EntityRef("service", "", "", "s4"), 5, 100)
    assert cut
    assert _names(kept.entities) == ["s2", "s3", "s4", "s5", "s6"]
    assert len(kept.relations) == 4
    whole, cut = truncate(_chain(9), EntityRef("service", "", "", "s4"), 9, 8)
    assert (len(whole.entities), len(whole.relations), cut) == (9, 8, False)
    fewer, cut = truncate(_chain(9), EntityRef("service", "", "", "s4"), 9, 3)
    assert (len(fewer.relations), cut) == (3, True)


def test_a_context_pins_no_snapshot() -> None:
    assert set(Context.__dataclass_fields__) == {"runtime", "index", "pages", "version", "seconds", "clock"}


async def test_introspection_answers_what_graphiql_asks(runtime: Runtime) -> None:
    from graphql import get_introspection_query  # noqa: PLC0415

    answer: dict[str, Any] = await ask(runtime, get_introspection_query())
    assert "Topology" in {kind["name"] for kind in answer["__schema"]["types"]}
