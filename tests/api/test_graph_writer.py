"""The way to the store: nothing that was told is lost while the store is away, nothing is doubled when it returns."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from api.graph_writer import GraphWriter, WriterLimits
from api.pipeline import Step
from graph.journal import Journal
from graph.live import LiveGraph
from graph.memory_store import MemoryGraphStore
from graph.store import StoreUnavailableError
from graph.topology import Entity, EntityObservation, Relation, RelationKey, RelationObservation, TopologyDelta
from ingest.assembler import ClosedWindow
from ingest.samples import sample_table
from ingest.tables import WindowCounts, behaviour_table, call_table, log_table, request_table
from schema.identity import EntityRef
from schema.verdicts import DefectRef, Diagnosis, Incident, IncidentState
from schema.windows import TelemetryWindow

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
REFS = [EntityRef("service", "c", "shop", f"s{number}") for number in range(9)]


class Store(MemoryGraphStore):
    """A store that can be away, hang, or die after a write and before it says so."""

    def __init__(self) -> None:
        super().__init__()
        self.away = self.silent = self.dies_once = False
        self.hung = asyncio.Event()
        self.calls: list[str] = []

    async def _answer(self, verb: str) -> None:
        self.calls.append(verb)
        if self.silent:
            await self.hung.wait()
        if self.away:
            raise StoreUnavailableError("The network is down: mend it.")

    async def upsert_entities(self, entities: Sequence[Entity]) -> None:
        await self._answer("upsert_entities")
        await super().upsert_entities(entities)
        if self.dies_once:
            self.dies_once = False
            raise StoreUnavailableError("Nobody knows whether that was written.")

    async def upsert_relations(self, relations: Sequence[Relation]) -> None:
        await self._answer("upsert_relations")
        await super().upsert_relations(relations)

    async def touch(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> Sequence[EntityRef | RelationKey]:
        await self._answer("touch")
        return await super().touch(entities, relations, at)

    async def save_incidents(self, incidents: Sequence[Incident]) -> None:
        await self._answer("save_incidents")
        await super().save_incidents(incidents)


class Whence:
    """A live graph and its writer, window by window."""

    def __init__(self, store: MemoryGraphStore, directory: Path, *, most_bytes: int = 1 << 20, limits: WriterLimits | None = None) -> None:
        self.graph = LiveGraph()
        self.journal = Journal(directory / "journal.db", most_bytes=most_bytes)
        self.writer = GraphWriter(self.graph, store, self.journal, limits=limits or WriterLimits(patience=0.05, retry=0.01))
        self.end = START

    async def window(self, *seen: EntityRef, incident: str = "", version: str = "1", later: int = 5) -> None:
        self.end += later * SECOND
        relations = tuple(RelationObservation(RelationKey(seen[0], "calls", ref), "t", self.end, 0.9) for ref in seen[1:])
        delta = TopologyDelta(self.end, tuple(EntityObservation(ref, "t", self.end, {"service.version": version}) for ref in seen), relations)
        counts, intern = WindowCounts(), self.graph.intern
        tables = (request_table(counts, intern), call_table(counts, intern), behaviour_table(counts, intern), sample_table(counts, intern))
        closed = ClosedWindow(delta, TelemetryWindow(self.end - 5 * SECOND, self.end, *tables, log_table(counts, intern), ()), self.graph.apply(delta))
        incidents = (Incident(incident, DefectRef(REFS[0], "slow"), IncidentState.OPEN, self.end, None, None, 0.9, 0.9, ()),) if incident else ()
        await self.writer.follow(Step(closed, self.graph.expire(self.end), Diagnosis(self.end, (), (), (), exact=True), incidents))


async def estate(store: MemoryGraphStore) -> object:
    left = await store.snapshot()
    return [each.ref for each in left.entities], [each.key for each in left.relations], list(await store.changes(0)), list(await store.incidents())


async def test_what_came_while_the_store_was_away_is_applied_in_order_when_it_returns(tmp_path: Path) -> None:
    store, undisturbed = Store(), MemoryGraphStore()
    here, there = Whence(store, tmp_path / "a"), Whence(undisturbed, tmp_path / "b")
    for whence in (here, there):
        store.away = False
        await whence.window(*REFS[:2])
        store.away = True
        await whence.window(*REFS[:4], incident="one", version="2")
        await whence.window(*REFS[:4], incident="two", version="3")
        if whence is here:
            assert "The network is down: mend it. Writes wait in the journal: 2." in here.writer.trouble
            assert here.writer.durable_through == START + 5 * SECOND
            store.away = False
        await whence.window(REFS[5], later=60)
    assert await estate(store) == await estate(undisturbed)
    assert (here.writer.trouble, here.writer.durable_through, here.journal.waiting, dict(here.writer.dropped)) == ("", here.end, 0, {})
    assert [change.detail for change in await store.changes(0) if change.entity == REFS[0] and change.detail] == [
        "service.version: 1 -> 2", "service.version: 2 -> 3"
    ]  # fmt: skip
    for whence in (here, there):
        await whence.writer.close()
    assert not (tmp_path / "a" / "journal.db").exists()


async def test_a_store_that_was_too_slow_gets_a_last_moment_at_the_end() -> None:
    """Without a journal, what it does not take then is lost."""
    store = Store()
    whence = Whence(store, Path())
    whence.writer = GraphWriter(whence.graph, store, limits=WriterLimits(patience=0.01))
    store.silent = True
    await whence.window(*REFS[:2], incident="one")
    await whence.window(*REFS[:3], incident="two")
    whence.writer._limits = WriterLimits(patience=5.0)
    store.silent = False
    asyncio.get_running_loop().call_later(0.01, store.hung.set)
    await whence.writer.close()
    assert {each.id for each in await store.incidents()} == {"one", "two"}


async def test_a_store_that_does_not_answer_holds_nobody_up_twice(tmp_path: Path) -> None:
    store = Store()
    whence = Whence(store, tmp_path)
    store.silent = True
    await whence.window(*REFS[:2], incident="one")
    assert whence.journal.waiting == 1
    for _ in range(20):
        await whence.window(*REFS[:3], incident="two")
    assert whence.journal.waiting == 21
    assert store.calls == ["upsert_entities"]
    assert whence.writer.trouble == "It does not answer. Writes wait in the journal: 21."
    assert whence.writer._draining is not None
    store.silent = False
    store.hung.set()
    await whence.writer._draining
    await whence.window(REFS[8])
    await whence.writer.close()
    assert whence.writer.trouble == ""
    assert {each.id for each in await store.incidents()} == {"one", "two"}
    assert {each.ref for each in (await store.snapshot()).entities} == {*REFS[:3], REFS[8]}


async def test_what_waits_survives_the_end_of_the_process_and_comes_before_the_restart(tmp_path: Path) -> None:
    store = Store()
    whence = Whence(store, tmp_path)
    store.away = True
    await whence.window(*REFS[:3], incident="one")
    assert whence.writer._draining is not None
    whence.writer._draining.cancel()  # killed: nothing is closed in order
    whence.journal._database = None
    held, whence.journal._lock = whence.journal._lock, None
    assert held is not None

    os.close(held)
    store.away = False
    again = Whence(store, tmp_path)
    await again.writer.begin()
    assert {each.ref for each in (await store.snapshot()).entities} == set(REFS[:3])
    assert [each.id for each in await store.incidents()] == ["one"]
    await again.writer.close()


async def test_a_write_whose_acknowledgement_was_lost_is_not_doubled(tmp_path: Path) -> None:
    store, undisturbed = Store(), MemoryGraphStore()
    here, there = Whence(store, tmp_path / "a"), Whence(undisturbed, tmp_path / "b")
    store.dies_once = True
    for whence in (here, there):
        await whence.window(*REFS[:3], incident="one")
        await whence.window(*REFS[:3], version="2")
        await whence.writer.close()
    assert await estate(store) == await estate(undisturbed)


async def test_a_full_journal_counts_what_it_lets_go_keeps_incidents_and_the_store_catches_up(tmp_path: Path) -> None:
    store = Store()
    whence = Whence(store, tmp_path, most_bytes=600)
    await whence.window(*REFS[:2])
    store.away = True
    for number in range(2, 9):
        await whence.window(REFS[0], REFS[number], incident=f"{number}")
    assert whence.writer.dropped["store_journal_full"] > 0
    store.away = False
    await whence.window(REFS[0])
    await whence.writer.close()
    held = await store.snapshot()
    assert ({each.ref for each in held.entities}, {each.key for each in held.relations}) == (
        {each.ref for each in whence.graph.entities()},
        {each.key for each in whence.graph.relations()},
    )
    assert {each.id for each in await store.incidents()} == {f"{number}" for number in range(2, 9)}


async def test_an_unchanged_estate_is_touched_once_a_minute_and_not_written_again(tmp_path: Path) -> None:
    store = Store()
    whence = Whence(store, tmp_path)
    for _ in range(24):
        await whence.window(*REFS)
    await whence.writer.close()
    assert store.calls.count("upsert_entities") == 1
    assert store.calls.count("touch") <= 2 * 12
    assert min(each.last_seen for each in (await store.snapshot()).entities) > START + 60 * SECOND


async def test_what_another_writer_let_expire_is_back_with_the_next_heartbeat(tmp_path: Path) -> None:
    store = Store()
    whence = Whence(store, tmp_path)
    await whence.window(*REFS[:3])
    await store.expire([REFS[1]], [], whence.end + SECOND)
    for _ in range(13):
        await whence.window(*REFS[:3])
    await whence.writer.close()
    assert {each.ref for each in (await store.snapshot()).entities} == set(REFS[:3])
    assert len((await store.snapshot()).relations) == 2


@pytest.mark.parametrize("days", [0, 1])
async def test_the_past_before_the_retention_is_forgotten(tmp_path: Path, days: int) -> None:
    store = Store()
    whence = Whence(store, tmp_path, limits=WriterLimits(patience=0.05, retry=0.01, retention=days * 86_400 * SECOND))
    await whence.window(REFS[0], version="1")
    await whence.window(REFS[0], version="2")
    await whence.window(REFS[0], version="2", later=20 * 3600)
    assert await store.get(REFS[0], START + 5 * SECOND) is not None
    await whence.window(REFS[0], version="2", later=20 * 3600)
    await whence.writer.close()
    assert (await store.get(REFS[0], START + 5 * SECOND) is None) == (days > 0)
    assert whence.writer.compacted == (1 if days else 0)
