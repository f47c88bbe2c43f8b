"""Every store answers like the oracle after any sequence of writes, restarts included, now and at every instant of the past."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.memory_store import MemoryGraphStore
from graph.sqlite_store import SqliteGraphStore
from graph.store import GraphStore, StoreError
from graph.topology import Entity, Relation, RelationKey, RelationStatistics, StructureEvent
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, Incident, IncidentState

# Persistent implementations: a directory in, a store on it out. Opening a second one on the same directory is a restart.
STORES: dict[str, Callable[[Path], GraphStore]] = {"sqlite": lambda directory: SqliteGraphStore(directory / "whence.db")}

REFS = [
    EntityRef(kind, "c", "shop", name)
    for kind, name in (("service", "cart"), ("service", "Checkout"), ("database", "db/örders"), ("endpoint", "cart GET /cart"), ("cache", "it's"))
]
TIMES = st.integers(0, 40)
SOURCES = st.sampled_from([("a",), ("b",), ("a", "b")])
ENTITIES = st.builds(
    lambda ref, version, sources, first, length: Entity(ref, {"service.version": version} if version else {}, sources, first, first + length),
    st.sampled_from(REFS), st.sampled_from(["", "1", "2"]), SOURCES, TIMES, st.integers(0, 10),
)  # fmt: skip
KEYS = st.builds(RelationKey, st.sampled_from(REFS), st.sampled_from(["calls", "queries"]), st.sampled_from(REFS))
STATISTICS = st.none() | st.builds(RelationStatistics, st.just(60.0), st.integers(0, 9), st.integers(0, 9), st.floats(0, 9))
RELATIONS = st.builds(
    lambda key, sources, confidence, first, length, statistics: Relation(key, sources, confidence, first, first + length, statistics),
    KEYS, SOURCES, st.floats(0, 1), TIMES, st.integers(0, 10), STATISTICS,
)  # fmt: skip
INCIDENTS = st.builds(
    lambda name, ref, state, opened, symptoms: Incident(
        name, DefectRef(ref, "slow"), state, opened, None, None, 0.5, 0.75, tuple(ConditionRef(each, "latency_high") for each in symptoms)
    ),
    st.sampled_from("xyz"), st.sampled_from(REFS), st.sampled_from(IncidentState), TIMES, st.lists(st.sampled_from(REFS), max_size=2),
)  # fmt: skip


@dataclass(frozen=True)
class Write:
    verb: str
    arguments: tuple[Any, ...]


def write(verb: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Write]:
    return st.builds(lambda *values: Write(verb, values), *arguments)


def several(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, max_size=4)


WRITES = st.one_of(
    write("upsert_entities", st.lists(ENTITIES, min_size=1, max_size=5)),
    write("upsert_entities", st.lists(ENTITIES, min_size=1, max_size=5)),
    write("upsert_relations", st.lists(RELATIONS, min_size=1, max_size=5)),
    write("upsert_relations", st.lists(RELATIONS, min_size=1, max_size=5)),
    write("touch", several(st.sampled_from(REFS)), several(KEYS), TIMES),
    write("expire", st.lists(st.sampled_from(REFS), min_size=1, max_size=3), several(KEYS), TIMES),
    write("save_incidents", several(INCIDENTS)),
    write("save_state", st.sampled_from("pq"), st.binary(max_size=4)),
    write("restart"),
)
EVERYBODY = Write("upsert_entities", ([Entity(ref, {}, ("a",), 5, 5) for ref in REFS],))


async def perform(store: GraphStore, each: Write) -> str:
    try:
        await getattr(store, each.verb)(*each.arguments)
    except StoreError as refused:
        return str(refused)
    return "done"


async def everything(store: GraphStore) -> dict[str, Any]:
    """Every answer the store can give about the little world of this test."""
    found: dict[str, Any] = {f"snapshot {at}": await store.snapshot(at) for at in (None, *range(0, 52, 3))}
    for ref in REFS:
        for at in (None, 10, 25):
            found[f"get {ref} {at}"] = await store.get(ref, at)
            for depth in (0, 1, 2, 5):
                found[f"neighbours {ref} {depth} {at}"] = await store.neighbours(ref, depth, at)
    found["paths"] = [list(await store.paths(REFS[0], target, limit, longest)) for target in REFS for limit, longest in ((3, 2), (10, 8))]
    found["find"] = [
        list(await store.find(kind, text, 3, after)) for kind in (None, "service") for text in ("", "cart", "ÖRD", "it's") for after in (None, REFS[0])
    ]
    found["changes"] = [list(await store.changes(since, until)) for since, until in ((-1, None), (10, 30))]
    found["incidents"] = [list(await store.incidents(state, 2)) for state in (None, *IncidentState)]
    found["state"] = [await store.load_state(name) for name in "pq"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", STORES)
@settings(max_examples=40, deadline=None)
@given(st.booleans(), st.lists(WRITES, max_size=12))
def test_a_store_answers_like_the_oracle(name: str, full: bool, writes: list[Write]) -> None:
    async def compare() -> None:
        with tempfile.TemporaryDirectory() as directory:
            oracle, store = MemoryGraphStore(), STORES[name](Path(directory))
            await store.ensure_schema()
            for each in ([EVERYBODY] if full else []) + writes:
                if each.verb == "restart":
                    await store.close()
                    store = STORES[name](Path(directory))
                    await store.ensure_schema()
                else:
                    assert await perform(store, each) == await perform(oracle, each)
            try:
                answers, expected = await everything(store), await everything(oracle)
                assert {key: answer for key, answer in answers.items() if answer != expected[key]} == {}
            finally:
                await store.close()

    asyncio.run(compare())


@pytest.mark.parametrize("at", [0, 7, 20, 33])
@settings(max_examples=100, deadline=None)
@given(writes=st.lists(WRITES.filter(lambda each: each.verb != "restart"), max_size=12))
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
