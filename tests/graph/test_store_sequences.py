"""Every store answers like the oracle after any sequence of writes, restarts included, now and at every instant of the past."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph.attributes import Dependency, EntityAttributes, Quantity, RelationDependencies
from graph.memory_store import MemoryGraphStore
from graph.neo4j_store import Neo4jGraphStore
from graph.sqlite_store import SqliteGraphStore
from graph.store import GraphStore, StoreError
from graph.topology import Direction, Entity, Relation, RelationKey, RelationStatistics, StructureEvent
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, Effect, EntityChange, Evidence, Finding, Incident, IncidentState
from schema.windows import ChangeKind
from tests.neo4j_server import Neo4jServer, empty

MS = 1_000_000  # stores may keep times to the millisecond

REFS = [
    EntityRef(kind, "c", "shop", name)
    for kind, name in (("service", "cart"), ("service", "Checkout"), ("database", "db/örders"), ("endpoint", "cart GET /cart"), ("cache", "it's"))
]
TIMES = st.integers(0, 40).map(lambda time: time * MS)
LENGTHS = st.integers(0, 10).map(lambda time: time * MS)
SOURCES = st.sampled_from([("a",), ("b",), ("a", "b")])
ENTITIES = st.builds(
    lambda ref, version, sources, first, length: Entity(ref, {"service.version": version} if version else {}, sources, first, first + length),
    st.sampled_from(REFS), st.sampled_from(["", "1", "2"]), SOURCES, TIMES, LENGTHS,
)  # fmt: skip
AROUND: tuple[tuple[int, Direction, int | None], ...] = (
    (0, Direction.EITHER, None), (1, Direction.EITHER, None), (5, Direction.EITHER, None),
    (2, Direction.EITHER, 3), (2, Direction.DEPENDENCIES, None), (5, Direction.DEPENDENTS, 3),
)  # fmt: skip
KEYS = st.builds(RelationKey, st.sampled_from(REFS), st.sampled_from(["calls", "queries"]), st.sampled_from(REFS))
STATISTICS = st.none() | st.builds(RelationStatistics, st.just(60.0), st.integers(0, 9), st.integers(0, 9), st.floats(0, 9))
RELATIONS = st.builds(
    lambda key, sources, confidence, first, length, statistics: Relation(key, sources, confidence, first, first + length, statistics),
    KEYS, SOURCES, st.floats(0, 1), TIMES, LENGTHS, STATISTICS,
)  # fmt: skip
ENTITY_CHANGES = st.builds(EntityChange, TIMES, st.sampled_from(REFS), st.sampled_from(ChangeKind), st.sampled_from(["", "it's ö"]))
INCIDENTS = st.builds(
    lambda name, ref, state, opened, symptoms, changes: Incident(
        name, DefectRef(ref, "slow"), state, opened, None, None, 0.5, 0.75, tuple(ConditionRef(each, "latency_high") for each in symptoms),
        tuple(Evidence(Finding(ConditionRef(each, "late"), 2.5, opened, 0.5, "s", "it's late"), -0.5) for each in symptoms),
        tuple(Effect(ConditionRef(each, "late"), 0.25, 0.5) for each in symptoms), tuple(changes),
    ),
    st.sampled_from("xyz"), st.sampled_from(REFS), st.sampled_from(IncidentState), TIMES, st.lists(st.sampled_from(REFS), max_size=2),
    st.lists(ENTITY_CHANGES, max_size=2, unique=True),
)  # fmt: skip
QUANTITIES = st.lists(st.sampled_from("lmn"), max_size=3, unique=True).map(
    lambda names: tuple(Quantity(name, "s", measured=name != "n", conditions=(f"{name}_high",)) for name in sorted(names))
)
STRENGTHS = st.sampled_from([0.25, 0.5])


def dependencies(effects: Sequence[str], causes: Sequence[str]) -> st.SearchStrategy[tuple[Dependency, ...]]:
    drawn = st.builds(
        lambda effect, cause, strength: Dependency(effect, cause, strength, ("a -> b",)), st.sampled_from(effects), st.sampled_from(causes), STRENGTHS
    )
    return st.lists(drawn, max_size=3, unique_by=lambda each: (each.effect, each.cause)).map(lambda each: tuple(sorted(each)))


ATTRIBUTES = st.builds(EntityAttributes, st.sampled_from(REFS), QUANTITIES, st.just(())).flatmap(
    lambda told: st.just(told) if not (names := [each.name for each in told.attributes])
    else dependencies(names, names).map(lambda within: EntityAttributes(told.entity, told.attributes, within))
)  # fmt: skip
DEPENDENCIES = st.builds(RelationDependencies, KEYS, dependencies("lmn", "lmn"), dependencies("lmn", "lmn"))


@dataclass(frozen=True)
class Write:
    verb: str
    arguments: tuple[Any, ...]


def write(verb: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Write]:
    return st.builds(lambda *values: Write(verb, values), *arguments)


def several(values: st.SearchStrategy[Any], name: Callable[[Any], Any], least: int = 0, most: int = 4) -> st.SearchStrategy[list[Any]]:
    """Each thing once, as a call must name them."""
    return st.lists(values, min_size=least, max_size=most, unique_by=name)


ENTITY_WRITES = write("upsert_entities", several(ENTITIES, lambda entity: entity.ref, 1, 5))
RELATION_WRITES = write("upsert_relations", several(RELATIONS, lambda relation: relation.key, 1, 5))
REF_LISTS, KEY_LISTS = several(st.sampled_from(REFS), str), several(KEYS, str)
WRITES = st.one_of(
    ENTITY_WRITES,
    ENTITY_WRITES,
    RELATION_WRITES,
    RELATION_WRITES,
    write("save_attributes", several(ATTRIBUTES, lambda told: told.entity, 1, 5), several(DEPENDENCIES, lambda told: told.relation)),
    write("touch", REF_LISTS, KEY_LISTS, TIMES),
    write("expire", several(st.sampled_from(REFS), str, 1, 3), KEY_LISTS, TIMES),
    write("compact", TIMES, st.just(99)),
    write("save_incidents", several(INCIDENTS, lambda incident: incident.id)),
    write("save_entity_changes", st.lists(ENTITY_CHANGES, min_size=1, max_size=3)),
    write("save_state", st.sampled_from("pq"), st.binary(max_size=4)),
    write("restart"),
)
EVERYBODY = Write("upsert_entities", ([Entity(ref, {}, ("a",), 5 * MS, 5 * MS) for ref in REFS],))


async def perform(store: GraphStore, each: Write) -> str:
    try:
        return f"done: {await getattr(store, each.verb)(*each.arguments)}"
    except StoreError as refused:
        return str(refused)


async def everything(store: GraphStore) -> dict[str, Any]:
    """Every answer the store can give about the little world of this test."""
    found: dict[str, Any] = {f"snapshot {at}": await store.snapshot(at) for at in (None, *range(-1, 52 * MS, 3 * MS))}
    for ref in REFS:
        for at in (None, 10 * MS, 25 * MS + 1):
            found[f"get {ref} {at}"] = await store.get(ref, at)
            for depth, direction, most in AROUND:
                found[f"neighbours {ref} {depth} {at} {direction} {most}"] = await store.neighbours(ref, depth, at, direction=direction, most=most)
    found["attributes"] = [list(await store.attributes(refs)) for refs in (REFS, REFS[:2], [])]
    found["paths"] = [list(await store.paths(REFS[0], target, limit, longest)) for target in REFS for limit, longest in ((3, 2), (10, 8))]
    found["find"] = [
        list(await store.find(kind, text, 3, after)) for kind in (None, "service") for text in ("", "cart", "ÖRD", "it's") for after in (None, REFS[0])
    ]
    found["changes"] = [list(await store.changes(since, until)) for since, until in ((-1, None), (10 * MS, 30 * MS))]
    found["diff"] = [await store.diff(before * MS, after * MS) for before, after in ((5, 20), (30, 10), (0, 45))]
    found["incidents"] = [list(await store.incidents(state, 2)) for state in (None, *IncidentState)]
    found["entity changes"] = [list(await store.entity_changes(*asked)) for asked in ((-1,), (10 * MS, 30 * MS), (-1, None, 2))]
    found["state"] = [await store.load_state(name) for name in "pq"]
    return found


async def check_against_the_oracle(opened: Callable[[], GraphStore], writes: Sequence[Write]) -> None:
    """`opened`: a store on what the one before it left; opening it again is a restart."""
    oracle, store = MemoryGraphStore(), opened()
    await store.ensure_schema()
    try:
        for each in writes:
            if each.verb == "restart":
                await store.close()
                store = opened()
                await store.ensure_schema()
            else:
                assert await perform(store, each) == await perform(oracle, each)
        answers, expected = await everything(store), await everything(oracle)
        assert {key: answer for key, answer in answers.items() if answer != expected[key]} == {}
    finally:
        await store.close()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.booleans(), st.lists(WRITES, max_size=12))
def test_sqlite_answers_like_the_oracle(full: bool, writes: list[Write]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(check_against_the_oracle(lambda: SqliteGraphStore(Path(directory) / "whence.db"), [EVERYBODY] * full + writes))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(full=st.booleans(), writes=st.lists(WRITES, max_size=12))
def test_neo4j_answers_like_the_oracle(neo4j_server: Neo4jServer, full: bool, writes: list[Write]) -> None:
    async def check() -> None:
        await empty(neo4j_server.address)
        await check_against_the_oracle(lambda: Neo4jGraphStore(neo4j_server.address), [EVERYBODY] * full + writes)

    asyncio.run(check())


@pytest.mark.parametrize("at", [0, 7 * MS, 20 * MS, 33 * MS])
@settings(max_examples=100, deadline=None)
@given(writes=st.lists(WRITES.filter(lambda each: each.verb not in {"restart", "compact"}), max_size=12))
def test_the_oracle_itself_reads_the_past_without_doubles_or_loose_ends(at: int, writes: list[Write]) -> None:
    async def check() -> None:
        oracle = MemoryGraphStore()
        for each in [EVERYBODY, *writes]:
            await perform(oracle, each)
        snapshot = await oracle.snapshot(at)
        refs, keys = [entity.ref for entity in snapshot.entities], [relation.key for relation in snapshot.relations]
        assert len(set(refs)) == len(refs)
        assert len(set(keys)) == len(keys)
        assert all(key.source in refs and key.target in refs for key in keys)
        # The changes tell the same: what appeared and did not expire is there.
        balance = Counter[EntityRef]()
        for change in await oracle.changes(-1, at):
            balance[change.entity] += {StructureEvent.ENTITY_APPEARED: 1, StructureEvent.ENTITY_EXPIRED: -1}.get(change.event, 0)
        assert {ref: number for ref, number in balance.items() if number} == dict.fromkeys(refs, 1)

    asyncio.run(check())
