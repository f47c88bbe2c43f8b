"""A store of every layout that was ever released is taken up with all it holds. The fixtures were written by the Whence of their time."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from graph.attributes import EntityAttributes, Quantity
from graph.checking import check
from graph.sqlite_schema import MIGRATIONS
from graph.sqlite_store import SqliteGraphStore
from graph.store import StoreVersionError
from graph.topology import RelationKey, StructureEvent
from schema.identity import EntityRef
from schema.verdicts import EntityChange, IncidentState
from schema.windows import ChangeKind

SECOND = 1_000_000_000
START = 1_770_000_000 * SECOND
CART, CHECKOUT, ORDERS, POD = (
    EntityRef("service", "prod", "shop", "cart"),
    EntityRef("service", "prod", "shop", "checkout"),
    EntityRef("database", "prod", "shop", "örders/o'brien"),
    EntityRef("pod", "prod", "shop", "cart-1"),
)
LAYOUTS = sorted((Path(__file__).parent / "golden").glob("sqlite_layout_*.sql"))


def restored(fixture: Path, path: Path) -> Path:
    database = sqlite3.connect(path)
    database.executescript(fixture.read_text(encoding="utf-8"))
    database.close()
    return path


def test_there_is_a_fixture_of_every_layout_before_this_one() -> None:
    assert [int(path.stem.rpartition("_")[2]) for path in LAYOUTS] == list(range(1, len(MIGRATIONS)))


@pytest.mark.parametrize("fixture", LAYOUTS, ids=lambda path: path.stem)
async def test_an_older_store_is_taken_up_whole_once_and_for_all(fixture: Path, tmp_path: Path) -> None:
    path = restored(fixture, tmp_path / "whence.db")
    for _ in range(2):
        store = SqliteGraphStore(path)
        await store.ensure_schema()
        present = await store.snapshot()
        assert [each.ref for each in present.entities] == [ORDERS, POD, CART, CHECKOUT]
        assert [each.key for each in present.relations] == [RelationKey(CART, "queries", ORDERS), RelationKey(CHECKOUT, "calls", CART)]
        calls = present.relations[1]
        assert calls.statistics is not None
        assert (calls.statistics.requests, calls.statistics.duration, calls.last_seen) == (120, 4.5, START + 2000 * SECOND)
        versions = [getattr(await store.get(CART, START + at * SECOND), "attributes", None) for at in (-1, 0, 59, 60, 9999)]
        assert versions == [None, {"version": "1.0"}, {"version": "1.0"}, {"version": "1.1"}, {"version": "1.1"}]
        assert [await store.get(POD, START + at * SECOND) is not None for at in (5, 999, 1000, 1999, 2000)] == [True, True, False, False, True]
        assert [change.event for change in await store.changes(START + 5 * SECOND)] == [
            StructureEvent.ENTITY_CHANGED, StructureEvent.ENTITY_EXPIRED, StructureEvent.RELATION_EXPIRED, StructureEvent.ENTITY_APPEARED
        ]  # fmt: skip
        assert [(each.id, each.state) for each in await store.incidents()] == [("i2", IncidentState.OPEN), ("i1", IncidentState.RECOVERED)]
        assert await store.load_state("memory") == b"\x00\x01belief"
        assert list((await check(store.records())).problems) == []
        assert list(await store.damage()) == []
        await store.close()


async def test_a_store_of_an_older_layout_takes_what_is_new_to_this_one(tmp_path: Path) -> None:
    told = EntityAttributes(CART, (Quantity("latency", "s", measured=True, conditions=("latency_high",)),), ())
    deployed = EntityChange(START, CART, ChangeKind.DEPLOY, "service.version 1.0 -> 1.1")
    for fixture in LAYOUTS:
        store = SqliteGraphStore(restored(fixture, tmp_path / f"{fixture.stem}.db"))
        await store.ensure_schema()
        await store.save_attributes([told])
        assert told in await store.attributes([CART])
        await store.save_entity_changes([deployed])
        assert list(await store.entity_changes(0)) == [deployed]
        assert {(each.evidence, each.impacts, each.changes) for each in await store.incidents()} == {((), (), ())}
        await store.close()


async def test_who_only_reads_leaves_an_older_layout_alone_and_says_what_to_do(tmp_path: Path) -> None:
    path = restored(LAYOUTS[0], tmp_path / "whence.db")
    before = path.read_bytes()
    store = SqliteGraphStore(path, read_only=True)
    with pytest.raises(StoreVersionError, match="older layout 1: run `whence store migrate` first"):
        await store.ensure_schema()
    await store.close()
    assert SqliteGraphStore(path).layout_on_disk() == 1
    assert path.read_bytes() == before
