"""What is particular to Neo4j: addresses and credentials, whose database it is, and what Cypher users find in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from neo4j import AsyncDriver, AsyncGraphDatabase, AsyncManagedTransaction, AsyncSession
from neo4j.exceptions import Neo4jError

from graph import neo4j_reads as reads
from graph.attributes import Dependency, EntityAttributes, Quantity, RelationDependencies
from graph.checking import check
from graph.neo4j_address import parse_neo4j
from graph.neo4j_schema import LAYOUT, due, ensure
from graph.neo4j_store import OVERTAKEN, Neo4jGraphStore
from graph.opening import open_store
from graph.sqlite_store import SqliteGraphStore
from graph.store import StoreError, StoreUnavailableError, StoreVersionError
from graph.topology import Entity, Relation, RelationKey, RelationStatistics, StructureChange
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, Effect, EntityChange, Evidence, Finding, Incident, IncidentState
from schema.windows import ChangeKind
from tests.neo4j_server import Neo4jServer, empty

MS = 1_000_000
CART, ORDERS = EntityRef("service", "c", "shop", "cart"), EntityRef("external_service", "c", "shop", "orders")


@pytest.mark.parametrize(
    ("url", "uri", "database", "user", "password"),
    [
        ("bolt://127.0.0.1", "bolt://127.0.0.1:7687", "neo4j", "env", "secret"),
        ("neo4j+s://graph.example:7000/estate", "neo4j+s://graph.example:7000", "estate", "env", "secret"),
        ("neo4j://ada:l%40ce@[::1]:7687/", "neo4j://[::1]:7687", "neo4j", "ada", "l@ce"),
        ("neo4j+ssc://ada@graph.example?policy=eu", "neo4j+ssc://graph.example:7687?policy=eu", "neo4j", "ada", "secret"),
    ],
)
def test_an_address_is_read_and_what_it_leaves_out_is_filled_in(url: str, uri: str, database: str, user: str, password: str) -> None:
    address = parse_neo4j(url, "env", "secret")
    assert (address.uri, address.database, address.user, address.password) == (uri, database, user, password)


@pytest.mark.parametrize("url", ["bolt://", "bolt://h:port", "neo4j://h/a/b", "http://h", "bolt://ada:pass-word@h:99999"])
def test_an_address_that_can_not_be_read_is_one_sentence_without_its_password(url: str) -> None:
    with pytest.raises(StoreUnavailableError, match="write SCHEME://HOST:PORT/DATABASE") as trouble:
        parse_neo4j(url)
    assert "pass-word" not in str(trouble.value)


def test_no_password_is_ever_shown(tmp_path: Path) -> None:
    address = parse_neo4j("bolt://ada:pass-word@h")
    assert "pass-word" not in f"{address} {address!r}"
    with pytest.raises(StoreUnavailableError, match="No store answers") as trouble:
        open_store("http://ada:pass-word@h", tmp_path)
    assert "pass-word" not in str(trouble.value)


def test_an_own_authority_and_trusting_anybody_exclude_each_other() -> None:
    with pytest.raises(StoreUnavailableError, match=r"use neo4j\+s"):
        parse_neo4j("neo4j+ssc://h", authority=Path("ca.pem"))


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_an_authority_without_certificates_is_told_before_anything_connects(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "ca.pem").write_text(text)
    with pytest.raises(StoreUnavailableError, match=r"ca\.pem holds no certificates .* WHENCE_STORE_CA"):
        open_store("neo4j+s://h", tmp_path, authority=tmp_path / "ca.pem")


def test_the_url_chooses_the_store(tmp_path: Path) -> None:
    assert isinstance(open_store("neo4j://h", tmp_path), Neo4jGraphStore)
    assert isinstance(open_store("sqlite", tmp_path), SqliteGraphStore)


async def trouble_of(store: Neo4jGraphStore) -> StoreError:
    with pytest.raises(StoreError) as trouble:
        await store.ensure_schema()
    await store.close()
    return trouble.value


async def test_a_server_that_is_not_there_is_one_sentence() -> None:
    trouble = await trouble_of(Neo4jGraphStore(parse_neo4j("bolt://127.0.0.1:1"), retry_seconds=0.0))
    assert isinstance(trouble, StoreUnavailableError)
    assert str(trouble).startswith("Neo4j at bolt://127.0.0.1:1/neo4j can't be reached (")
    assert "\n" not in str(trouble)


async def test_a_store_that_was_not_opened_or_is_closed_says_so() -> None:
    store = Neo4jGraphStore(parse_neo4j("bolt://127.0.0.1:1"))
    with pytest.raises(StoreUnavailableError, match="call ensure_schema first"):
        await store.snapshot()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailableError, match="is closed"):
        await store.snapshot()


@pytest.mark.parametrize(("code", "trouble"), [(OVERTAKEN, StoreUnavailableError), ("Neo.ClientError.Statement.SyntaxError", Neo4jError)])
async def test_what_another_writer_deleted_meanwhile_is_to_be_repeated_and_a_wrong_statement_stays_a_bug(code: str, trouble: type[Exception]) -> None:
    store = Neo4jGraphStore(parse_neo4j("bolt://127.0.0.1:1"))
    with pytest.raises(trouble) as told:
        async with store._told():
            raise Neo4jError._hydrate_neo4j(code=code, message="Unable to load RELATIONSHIP 4:7.")
    assert type(told.value) is StoreUnavailableError or code != OVERTAKEN
    await store.close()


class OldServer:
    """Answers the first question that a store asks, which is for the version."""

    async def execute_read(self, _: object) -> str:
        return "5.25.1"


async def test_a_server_that_is_too_old_is_refused_before_anything_else_is_asked() -> None:
    with pytest.raises(StoreUnavailableError, match=r"The server is Neo4j 5\.25\.1, and Whence needs 5\.26 or later: upgrade it\."):
        await ensure(cast(AsyncSession, OldServer()))


@pytest_asyncio.fixture
async def driver(neo4j_server: Neo4jServer) -> AsyncIterator[AsyncDriver]:
    """A raw driver, as other programs use; on an empty database."""
    await empty(neo4j_server.address)
    async with AsyncGraphDatabase.driver(neo4j_server.address.uri, auth=(neo4j_server.address.user, neo4j_server.address.password)) as opened:
        yield opened


@pytest_asyncio.fixture
async def store(driver: AsyncDriver, neo4j_server: Neo4jServer) -> AsyncIterator[Neo4jGraphStore]:
    opened = Neo4jGraphStore(neo4j_server.address)
    await opened.ensure_schema()
    yield opened
    await opened.close()


@pytest.mark.slow
async def test_a_wrong_password_and_a_database_that_is_not_there_are_told(driver: AsyncDriver, neo4j_server: Neo4jServer) -> None:
    refused = await trouble_of(Neo4jGraphStore(replace(neo4j_server.address, password="not-the-password")))
    assert "does not let the user 'neo4j' in: check WHENCE_STORE_USER and WHENCE_STORE_PASSWORD." in str(refused)
    assert "not-the-password" not in str(refused)
    missing = await trouble_of(Neo4jGraphStore(replace(neo4j_server.address, database="nowhere")))
    assert "has no database 'nowhere'" in str(missing)
    assert {type(refused), type(missing)} == {StoreUnavailableError}


@pytest.mark.slow
async def test_a_graph_of_a_newer_whence_is_refused_and_left_alone(driver: AsyncDriver, neo4j_server: Neo4jServer) -> None:
    await driver.execute_query(f"CREATE (:WhenceLayout {{name: 'whence', number: {LAYOUT + 1}}})")
    trouble = await trouble_of(Neo4jGraphStore(neo4j_server.address))
    assert isinstance(trouble, StoreVersionError)
    assert str(trouble) == f"The store has layout {LAYOUT + 1}, this Whence knows up to {LAYOUT}: upgrade Whence, or choose another database."


@pytest.mark.slow
async def test_migrations_are_told_before_they_run_and_each_runs_once_from_the_first_layout_on(driver: AsyncDriver, store: Neo4jGraphStore) -> None:
    await store.upsert_entities([Entity(CART, {}, ("t",), MS, MS)])
    await driver.execute_query("MATCH (n:WhenceLayout) SET n.number = 1")
    migrations = ((), ("MATCH (e:Entity) SET e.tried = coalesce(e.tried, 0) + 1",), ("MATCH (e:Entity) SET e.tried = e.tried * 10",))
    async with driver.session() as session:
        assert list(await due(session, migrations)) == [2, 3]
        assert await _tried(driver) == (None, 1)
        await ensure(session, migrations)
        await ensure(session, migrations)
        assert list(await due(session, migrations)) == []
    assert await _tried(driver) == (10, 3)


@pytest.mark.slow
async def test_a_dry_run_on_an_empty_database_writes_nothing(driver: AsyncDriver, neo4j_server: Neo4jServer) -> None:
    store = Neo4jGraphStore(neo4j_server.address)
    assert list(await store.due()) == list(range(1, LAYOUT + 1))
    await store.close()
    assert (await driver.execute_query("MATCH (n:WhenceLayout) RETURN n")).records == []


async def _tried(driver: AsyncDriver) -> tuple[int | None, int]:
    found = await driver.execute_query("MATCH (e:Entity), (n:WhenceLayout) RETURN e.tried AS tried, n.number AS number")
    return found.records[0]["tried"], found.records[0]["number"]


@pytest.mark.slow
async def test_nodes_of_another_application_under_our_labels_are_refused_and_others_never_touched(driver: AsyncDriver, neo4j_server: Neo4jServer) -> None:
    await driver.execute_query("CREATE (:Entity {id: 'theirs'})")
    assert "nodes labelled :Entity that Whence did not write" in str(await trouble_of(Neo4jGraphStore(neo4j_server.address)))
    await driver.execute_query("MATCH (n:Entity) REMOVE n:Entity SET n:Theirs")
    store = Neo4jGraphStore(neo4j_server.address)
    await store.ensure_schema()
    await store.upsert_entities([Entity(CART, {}, ("t",), MS, MS)])
    await store.expire([CART], [], 2 * MS)
    await store.close()
    found = await driver.execute_query("MATCH (n:Theirs) WITH n, properties(n) AS properties DELETE n RETURN properties")
    assert found.records[0]["properties"] == {"id": "theirs"}


@pytest.mark.slow
async def test_an_older_graph_is_brought_up_to_date_unless_others_use_the_labels_that_are_new(
    driver: AsyncDriver, store: Neo4jGraphStore, neo4j_server: Neo4jServer
) -> None:
    await store.upsert_entities([Entity(CART, {}, ("t",), MS, MS)])
    await driver.execute_query("MATCH (n:WhenceLayout) SET n.number = 1")
    await driver.execute_query("CREATE (:Attribute {id: 'theirs'})")
    assert "nodes labelled :Attribute that Whence did not write" in str(await trouble_of(Neo4jGraphStore(neo4j_server.address)))
    await driver.execute_query("MATCH (a:Attribute) DELETE a")
    again = Neo4jGraphStore(neo4j_server.address)
    assert list(await again.due()) == list(range(2, LAYOUT + 1))
    await again.ensure_schema()
    assert list(await again.due()) == []
    assert [each.ref for each in (await again.snapshot()).entities] == [CART]
    await again.close()


@pytest.mark.slow
async def test_cypher_users_find_attributes_beside_entities_and_what_depends_on_what(driver: AsyncDriver, store: Neo4jGraphStore) -> None:
    await store.upsert_entities([Entity(CART, {}, ("t",), MS, MS), Entity(ORDERS, {}, ("t",), MS, MS)])
    await store.upsert_relations([Relation(RelationKey(CART, "calls", ORDERS), ("t",), 0.9, MS, 2 * MS, None)])
    late = Quantity("latency", "s", measured=True, conditions=("latency_high",))
    over = RelationDependencies(RelationKey(CART, "calls", ORDERS), (Dependency("latency", "latency", 0.35, ("latency_high -> latency_high",)),), ())
    await store.save_attributes([EntityAttributes(CART, (late,), ()), EntityAttributes(ORDERS, (late,), ())], [over])
    found = await driver.execute_query(
        """MATCH (:Service)-[:HAS]->(a:Attribute {name: 'latency'})-[d:DEPENDS_ON]->(b:Attribute)<-[:HAS]-(e:ExternalService)
           RETURN a.id AS effect, a.conditions AS conditions, d.over AS over, d.of AS of, d.strength AS strength, b.entity AS cause, e.id AS entity"""
    )
    assert [record.data() for record in found.records] == [
        {
            "effect": "service:c/shop/cart.latency", "conditions": ["latency_high"], "over": "calls", "of": "source", "strength": 0.35,
            "cause": str(ORDERS), "entity": str(ORDERS),
        }
    ]  # fmt: skip


@pytest.mark.slow
async def test_a_constraint_that_was_dropped_comes_back(driver: AsyncDriver, store: Neo4jGraphStore, neo4j_server: Neo4jServer) -> None:
    await driver.execute_query("DROP CONSTRAINT whence_entity")
    again = Neo4jGraphStore(neo4j_server.address)
    await again.ensure_schema()
    await again.close()
    found = await driver.execute_query("SHOW CONSTRAINTS YIELD name WHERE name = 'whence_entity' RETURN count(*) AS number")
    assert found.records[0]["number"] == 1


@pytest.mark.slow
async def test_cypher_users_find_kinds_as_labels_relations_as_types_and_attributes_as_properties(driver: AsyncDriver, store: Neo4jGraphStore) -> None:
    await store.upsert_entities([Entity(CART, {"service.version": "2", "name": "own"}, ("t",), MS, MS), Entity(ORDERS, {}, ("t",), MS, MS)])
    await store.upsert_relations([Relation(RelationKey(CART, "calls", ORDERS), ("t",), 0.9, MS, 2 * MS, RelationStatistics(60.0, 10, 1, 2.5))])
    await store.save_incidents(
        [Incident("i", DefectRef(ORDERS, "slow"), IncidentState.OPEN, 3 * MS, None, None, 0.8, 0.9, (ConditionRef(CART, "latency_high"),))]
    )
    found = await driver.execute_query(
        """MATCH (s:Entity:Service {id: 'service:c/shop/cart'})-[c:CALLS]->(x:ExternalService)<-[cause:CAUSED_BY]-(i:Incident)-[shows:SHOWS]->(s)
           RETURN s.name AS name, s.`attribute.name` AS escaped, s.`service.version` AS version, c.requests AS requests, c.last_seen AS last_seen,
                  cause.defect AS defect, shows.condition AS condition"""
    )
    assert [record.data() for record in found.records] == [
        {"name": "cart", "escaped": "own", "version": "2", "requests": 10, "last_seen": 2, "defect": "slow", "condition": "latency_high"}
    ]


@pytest.mark.slow
async def test_cypher_users_find_incidents_linked_to_their_evidence_impacts_and_the_changes_before_them(driver: AsyncDriver, store: Neo4jGraphStore) -> None:
    await store.upsert_entities([Entity(CART, {}, ("t",), MS, MS), Entity(ORDERS, {}, ("t",), MS, MS)])
    await store.save_incidents([whole_incident()])
    await store.save_incidents([replace(whole_incident(), probability=0.75)])  # what it is linked by is replaced, not added to
    found = await driver.execute_query(
        """MATCH (s:Service)<-[shows:SHOWS]-(i:Incident)-[cause:CAUSED_BY]->(x)-[:CHANGED_BY]->(c:Change)-[before:PRECEDES]->(i)
           MATCH (i)-[found:EVIDENCED_BY]->(x), (i)-[impact:IMPACTS]->(s)
           RETURN c.kind AS kind, c.detail AS detail, before.seconds AS seconds, cause.probability AS probability, shows.condition AS symptom,
                  found {.*} AS found, impact {.*} AS impact"""
    )
    assert [record.data() for record in found.records] == [
        {
            "kind": "deploy", "detail": "service.version 1 -> 2", "seconds": 0.004, "probability": 0.75, "symptom": "latency_high",
            "found": {
                "condition": "latency_high", "weight": 3.25, "log_likelihood_ratio": 4.5, "onset": 3, "amount": 0.25, "unit": "s", "observed": "slower",
            },
            "impact": {"condition": "latency_high", "before": 0.01, "after": 0.8},
        }
    ]  # fmt: skip


@pytest.mark.slow
async def test_incidents_of_the_first_layout_are_read_without_what_it_did_not_keep(
    driver: AsyncDriver, store: Neo4jGraphStore, neo4j_server: Neo4jServer
) -> None:
    await store.save_incidents([whole_incident()])
    await driver.execute_query(
        """MATCH (i:Incident) REMOVE i.evidence, i.impacts, i.changes WITH i MATCH (c:Change) DETACH DELETE c
           WITH DISTINCT i MATCH (n:WhenceLayout) SET n.number = 1"""
    )
    again = Neo4jGraphStore(neo4j_server.address)
    await again.ensure_schema()
    assert list(await again.incidents()) == [replace(whole_incident(), evidence=(), impacts=(), changes=())]
    assert (await check(again.records())).problems == ()
    await again.close()


def whole_incident() -> Incident:
    late = ConditionRef(CART, "latency_high")
    found = Finding(ConditionRef(ORDERS, "latency_high"), 4.5, 3 * MS, 0.25, "s", "slower")
    return Incident(
        "w", DefectRef(ORDERS, "slow"), IncidentState.OPEN, 5 * MS, 3 * MS, None, 0.8, 0.9, (late,),
        (Evidence(found, 3.25),), (Effect(late, 0.01, 0.8),), (EntityChange(MS, ORDERS, ChangeKind.DEPLOY, "service.version 1 -> 2"),),
    )  # fmt: skip


@pytest.mark.slow
async def test_what_expired_is_under_no_label_of_the_present_and_its_incidents_still_point_at_it(driver: AsyncDriver, store: Neo4jGraphStore) -> None:
    incident = Incident("i", DefectRef(CART, "slow"), IncidentState.OPEN, 3 * MS, None, None, 0.8, 0.9, ())
    await store.upsert_entities([Entity(CART, {}, ("t",), MS, MS)])
    await store.save_incidents([incident])
    await store.expire([CART], [], 5 * MS)
    await store.save_incidents([replace(incident, state=IncidentState.RECOVERED, closed_at=6 * MS)])
    found = await driver.execute_query("MATCH (i:Incident)-[:CAUSED_BY]->(e {id: 'service:c/shop/cart'}) RETURN labels(e) AS labels")
    assert [record["labels"] for record in found.records] == [["Gone"]]
    await store.upsert_entities([Entity(CART, {}, ("t",), 7 * MS, 7 * MS)])
    found = await driver.execute_query("MATCH (i:Incident)-[:CAUSED_BY]->(e {id: 'service:c/shop/cart'}) RETURN labels(e) AS labels")
    assert [set(record["labels"]) for record in found.records] == [{"Entity", "Service"}]


@pytest.mark.slow
async def test_changes_are_exported_page_by_page_in_their_order_none_twice_and_none_left_out(
    driver: AsyncDriver, store: Neo4jGraphStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [EntityRef("service", "c", "shop", name) for name in "bcad"]
    await store.upsert_entities([Entity(ref, {}, ("t",), MS, MS) for ref in refs])
    await store.upsert_relations([Relation(RelationKey(refs[0], "calls", ref), ("t",), 0.9, MS, MS, None) for ref in refs])
    await store.upsert_entities([Entity(ref, {"version": "2"}, ("t",), MS, 2 * MS) for ref in refs[:2]])
    # Another says the same: both are told.
    await driver.execute_query("MATCH (c:StructureChange) WITH c LIMIT 1 CREATE (again:StructureChange) SET again = properties(c)")
    expected = list(await store.changes(-1))
    for size in (1, 2, 3, 100):
        monkeypatch.setattr(reads, "CHANGES_PAGE", size)
        pages = [batch async for batch in store.records() if isinstance(batch[0], StructureChange)]
        assert [change for page in pages for change in page] == expected
        assert max(map(len, pages)) <= size
    assert len(expected) == 11


@pytest.mark.slow
async def test_a_heartbeat_reaches_each_thing_whatever_characters_its_name_holds(store: Neo4jGraphStore) -> None:
    refs = [EntityRef("service", "c", "shop", name) for name in ("a\x1eb", "a\x1fb", "a\ue000b", "a", "b", "a,b\nc")]
    keys = [RelationKey(source, "calls", target) for source in refs for target in refs]
    await store.upsert_entities([Entity(ref, {}, ("t",), MS, MS) for ref in refs])
    await store.upsert_relations([Relation(key, ("t",), 0.9, MS, MS, None) for key in keys])
    nobody = EntityRef("service", "c", "shop", "\x1e")
    assert list(await store.touch([*refs, nobody], [*keys, RelationKey(nobody, "calls", nobody)], 5 * MS)) == [nobody, RelationKey(nobody, "calls", nobody)]
    left = await store.snapshot()
    assert {each.last_seen for each in left.entities} == {each.last_seen for each in left.relations} == {5 * MS}


@pytest.mark.slow
async def test_transactions_say_who_runs_them(driver: AsyncDriver, store: Neo4jGraphStore) -> None:
    async def seen_from_outside(transaction: AsyncManagedTransaction) -> list[object]:
        await (await transaction.run("RETURN 1")).consume()  # now it has begun
        return [record["tag"] for record in (await driver.execute_query("SHOW TRANSACTIONS YIELD metaData RETURN metaData AS tag")).records]

    assert {"app": "whence", "verb": "probe"} in await store._read("probe", seen_from_outside)


@pytest.mark.slow
async def test_an_embedded_store_moves_into_neo4j_and_back_as_it_was(store: Neo4jGraphStore, tmp_path: Path) -> None:
    embedded, back = SqliteGraphStore(tmp_path / "one.db"), SqliteGraphStore(tmp_path / "two.db")
    await embedded.ensure_schema()
    await back.ensure_schema()
    await embedded.upsert_entities([Entity(CART, {"version": "1"}, ("t",), MS, MS), Entity(ORDERS, {}, ("t",), MS, MS)])
    await embedded.upsert_relations([Relation(RelationKey(CART, "calls", ORDERS), ("t",), 0.9, MS, 2 * MS, RelationStatistics(60.0, 10, 1, 2.5))])
    await embedded.upsert_entities([Entity(CART, {"version": "2"}, ("t",), MS, 3 * MS)])
    await embedded.expire([ORDERS], [], 4 * MS)
    await embedded.save_incidents([Incident("i", DefectRef(ORDERS, "slow"), IncidentState.OPEN, 3 * MS, 2 * MS, None, 0.8, 0.9, ())])
    await embedded.save_state("belief", b"\x00\xff")
    written = [record async for batch in embedded.records() for record in batch]
    await store.load(written)
    await back.load([record async for batch in store.records() for record in batch])
    assert [record async for batch in back.records() for record in batch] == written
    assert (await check(store.records())).problems == ()
    # And life goes on there: what expired comes back no earlier than it went.
    await store.upsert_entities([Entity(ORDERS, {}, ("t",), 2 * MS, 6 * MS)])
    assert [change.at for change in await store.changes(3 * MS) if change.entity == ORDERS] == [4 * MS, 4 * MS]
    await embedded.close()
    await back.close()
