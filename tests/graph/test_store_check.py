"""`check` sees whatever is lost, doubled or loose, and nothing in a store that is sound."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.attributes import Dependency, EntityAttributes, Quantity, RelationDependencies
from graph.checking import KINDS, check
from graph.memory_store import MemoryGraphStore
from graph.record_json import RecordError, record_line, record_of
from graph.records import EntityInterval, Record, RelationInterval
from graph.sqlite_store import SqliteGraphStore
from graph.topology import Entity, Relation, RelationKey, RelationStatistics, StructureChange
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, Effect, EntityChange, Evidence, Finding, Incident, IncidentState
from schema.windows import ChangeKind

REFS = [EntityRef("service", "c", "shop", name) for name in ("a", "b", "ö's")]
CALLS = RelationKey(REFS[0], "calls", REFS[1])


def entity(ref: EntityRef, at: int, version: str = "1") -> Entity:
    return Entity(ref, {"version": version}, ("t",), at, at)


async def records() -> list[Record]:
    """Of a store with all kinds of history."""
    store = MemoryGraphStore()
    await store.upsert_entities([entity(ref, 1) for ref in REFS])
    await store.upsert_relations([Relation(CALLS, ("t",), 0.9, 2, 2, RelationStatistics(60.0, 3, 1, 0.25))])
    await store.upsert_entities([entity(REFS[0], 5, "2")])
    await store.expire([REFS[1]], [], 8)
    await store.upsert_entities([entity(REFS[1], 9)])
    await store.upsert_relations([Relation(CALLS, ("t",), 0.9, 10, 10, None)])
    late = ConditionRef(REFS[0], "late")
    evidence, impacts = (Evidence(Finding(late, 2.5, 2, 0.5, "s", "later than ever"), 1.5),), (Effect(late, 0.125, 0.75),)
    changes = (EntityChange(2, REFS[2], ChangeKind.DEPLOY, "1 -> 2"),)
    await store.save_incidents([Incident("i", DefectRef(REFS[2], "slow"), IncidentState.OPEN, 3, 2, None, 0.5, 0.75, (late,), evidence, impacts, changes)])
    await store.save_state("belief", b"\x00\xff")
    latency = Quantity("latency", "s", measured=True, conditions=("latency_high",))
    await store.save_attributes(
        [EntityAttributes(ref, (latency,), ()) for ref in REFS[:2]],
        [RelationDependencies(CALLS, (Dependency("latency", "latency", 0.35, ("late -> late",)),), ())],
    )
    return [record async for batch in store.records() for record in batch]


async def problems_of(found: Sequence[Record]) -> list[str]:
    async def batches() -> AsyncIterator[Sequence[Record]]:
        yield found

    return list((await check(batches())).problems)


async def test_a_sound_store_has_no_problems() -> None:
    found = await records()
    assert await problems_of(found) == []
    assert {type(record) for record in found} == {*KINDS}


async def test_any_interval_or_change_that_is_lost_is_seen() -> None:
    found = await records()
    for place, record in enumerate(found):
        if isinstance(record, EntityInterval | RelationInterval | EntityAttributes | StructureChange | EntityChange):
            assert await problems_of(found[:place] + found[place + 1 :]), record


async def test_any_interval_that_is_doubled_or_moved_is_seen() -> None:
    found = await records()
    for place, record in enumerate(found):
        if isinstance(record, EntityAttributes | RelationDependencies | EntityChange):
            assert await problems_of([*found, record]), record
        if isinstance(record, EntityInterval | RelationInterval):
            assert await problems_of([*found, record]), record
            assert await problems_of([*found[:place], replace(record, opened=record.opened + 1), *found[place + 1 :]]), record


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 11), st.integers(1, 9))
def test_compaction_leaves_a_sound_store(before: int, most: int) -> None:
    async def run() -> None:
        store = MemoryGraphStore()
        await store.load(await records())
        await store.compact(before, most)
        assert list((await check(store.records())).problems) == []

    asyncio.run(run())


async def test_what_leaves_as_lines_comes_back_the_same() -> None:
    for record in await records():
        assert record_of(record_line(record)) == record


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"entity":{"ref":"x"}}', b'{"change":"someday","at":1,"ref":"a:b/c/d","key":null,"detail":""}'])
def test_a_line_that_is_no_record_is_refused_with_a_reason(line: bytes) -> None:
    with pytest.raises(RecordError, match="it is no record of a store"):
        record_of(line)


async def test_sqlite_is_read_at_one_instant_while_another_writes(tmp_path: Path) -> None:
    writer, reader = SqliteGraphStore(tmp_path / "whence.db"), SqliteGraphStore(tmp_path / "whence.db", read_only=True)
    await writer.ensure_schema()
    await writer.load(await records())
    await reader.ensure_schema()
    await writer.expire(REFS, [], 20)
    assert [record async for batch in reader.records() for record in batch] == await records()
    assert list((await check(writer.records())).problems) == []
    await reader.close()
    await writer.close()


async def test_a_row_that_is_deleted_behind_the_stores_back_is_seen(tmp_path: Path) -> None:
    store = SqliteGraphStore(tmp_path / "whence.db")
    await store.ensure_schema()
    await store.load(await records())
    await store.close()
    database = sqlite3.connect(tmp_path / "whence.db")
    database.execute("delete from entity_interval where closed is null and id = 2")
    database.commit()
    database.close()
    await store.close()
    again = SqliteGraphStore(tmp_path / "whence.db", read_only=True)
    await again.ensure_schema()
    assert "service:c/shop/a calls service:c/shop/b is there, and its end service:c/shop/b is not." in (await check(again.records())).problems
    await again.close()
