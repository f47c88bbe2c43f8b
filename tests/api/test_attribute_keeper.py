"""Attributes follow the structure and nothing else: each is written once, by heartbeats none, and a start writes only what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from api.attribute_keeper import AttributeKeeper
from api.graph_writer import GraphWriter, WriterLimits
from api.pipeline import Step
from graph.attribute_model import AttributeModel
from graph.attributes import EntityAttributes, RelationDependencies
from graph.checking import check
from graph.live import LiveGraph
from graph.memory_store import MemoryGraphStore
from graph.store import StoreUnavailableError
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from ingest.assembler import ClosedWindow
from ingest.samples import sample_table
from ingest.tables import WindowCounts, behaviour_table, call_table, log_table, request_table
from schema.identity import EntityRef
from schema.loader import load_knowledge
from schema.verdicts import ConditionRef, DefectRef, Diagnosis, Incident, IncidentState
from schema.windows import TelemetryWindow

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
REFS = [EntityRef("service", "c", "shop", f"s{number}") for number in range(6)]
OTHER = "kind: service\nconditions:\n  collecting_high: {summary: Much time goes to garbage., attribute: gc_time_share, detector: near_limit}\n"
MODEL = AttributeModel(load_knowledge(None))


class Store(MemoryGraphStore):
    """Counts what it is told of attributes; may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.told: list[EntityAttributes | RelationDependencies] = []
        self.sizes: list[int] = []

    async def save_attributes(self, entities: Sequence[EntityAttributes], relations: Sequence[RelationDependencies] = ()) -> None:
        if self.away:
            raise StoreUnavailableError("The network is down: mend it.")
        self.told += [*entities, *relations]
        self.sizes.append(len(entities) + len(relations))
        await super().save_attributes(entities, relations)


class Whence:
    """A live graph and its writer, window by window; each window sees the first entity call the others."""

    def __init__(self, store: MemoryGraphStore, *, most: int = 100, end: int = START, model: AttributeModel = MODEL) -> None:
        self.graph, self.end = LiveGraph(), end
        self.writer = GraphWriter(self.graph, store, limits=WriterLimits(patience=1.0, retry=0.01, attributed=most), model=model)

    async def window(self, *seen: EntityRef, incidents: Sequence[Incident] = (), later: int = 5) -> None:
        self.end += later * SECOND
        relations = tuple(RelationObservation(RelationKey(seen[0], "calls", ref), "t", self.end, 0.9) for ref in seen[1:])
        delta = TopologyDelta(self.end, tuple(EntityObservation(ref, "t", self.end, {}) for ref in seen), relations)
        counts, intern = WindowCounts(), self.graph.intern
        tables = (request_table(counts, intern), call_table(counts, intern), behaviour_table(counts, intern), sample_table(counts, intern))
        closed = ClosedWindow(delta, TelemetryWindow(self.end - 5 * SECOND, self.end, *tables, log_table(counts, intern), ()), self.graph.apply(delta))
        await self.writer.follow(Step(closed, self.graph.expire(self.end), Diagnosis(self.end, (), (), (), exact=True), tuple(incidents)))
        await self.settled()

    async def settled(self) -> None:
        while self.writer._draining is not None and not self.writer._draining.done() and not self.writer.trouble:
            await self.writer._draining


def incident(name: str, of: EntityRef, *symptoms: EntityRef, state: IncidentState = IncidentState.OPEN) -> Incident:
    return Incident(name, DefectRef(of, "slow_code"), state, START, None, None, 0.9, 0.9, tuple(ConditionRef(ref, "latency_high") for ref in symptoms))


async def of_all(store: MemoryGraphStore) -> tuple[set[EntityRef], set[RelationKey]]:
    held = await store.attributes(REFS)
    return {each.entity for each in held if isinstance(each, EntityAttributes)}, {each.relation for each in held if isinstance(each, RelationDependencies)}


def keys(*refs: EntityRef) -> set[RelationKey]:
    return {RelationKey(refs[0], "calls", ref) for ref in refs[1:]}


async def test_what_comes_is_told_once_and_a_steady_estate_is_told_nothing() -> None:
    store = Store()
    whence = Whence(store)
    await whence.window(*REFS[:3])
    assert await of_all(store) == ({*REFS[:3]}, keys(*REFS[:3]))
    told = len(store.told)
    for _ in range(30):
        await whence.window(*REFS[:3])
    assert len(store.told) == told
    await whence.window(*REFS[:4])
    assert len(store.told) == told + 2
    assert await of_all(store) == ({*REFS[:4]}, keys(*REFS[:4]))
    await whence.writer.close()
    assert list((await check(store.records())).problems) == []


async def test_what_another_writer_let_expire_has_its_attributes_back_with_the_next_heartbeat() -> None:
    store = Store()
    whence = Whence(store)
    await whence.window(*REFS[:3])
    await store.expire([REFS[1]], [], whence.end + SECOND)
    assert await of_all(store) == ({REFS[0], REFS[2]}, keys(REFS[0], REFS[2]))
    for _ in range(13):
        await whence.window(*REFS[:3])
    assert await of_all(store) == ({*REFS[:3]}, keys(*REFS[:3]))
    await whence.writer.close()


async def test_a_store_that_was_away_is_told_all_once_it_is_back() -> None:
    store = Store()
    whence = Whence(store)
    store.away = True
    await whence.window(*REFS[:3])
    assert await of_all(store) == (set(), set())
    store.away = False
    await whence.window(*REFS[:4])
    assert await of_all(store) == ({*REFS[:4]}, keys(*REFS[:4]))
    await whence.writer.close()


async def test_a_start_tells_what_is_missing_or_was_told_by_another_knowledge_and_nothing_else(tmp_path: Path) -> None:
    store = Store()
    first = Whence(store)
    await first.window(*REFS[:4])
    await first.writer.close()
    await store.save_attributes([EntityAttributes(REFS[1], (), ())])  # as if the end had come before it was told
    store.told.clear()
    second = Whence(store, end=first.end)
    second.graph.restore(await store.snapshot())
    await second.window(*REFS[:4])
    await second.writer.close()
    assert await of_all(store) == ({*REFS[:4]}, keys(*REFS[:4]))
    assert {each.entity for each in store.told if isinstance(each, EntityAttributes)} == {REFS[1]}
    assert {each.relation for each in store.told if isinstance(each, RelationDependencies)} == {RelationKey(REFS[0], "calls", REFS[1])}

    (tmp_path / "service.yaml").write_text(OTHER)
    other = AttributeModel(load_knowledge(tmp_path))
    third = Whence(store, end=second.end, model=other)
    third.graph.restore(await store.snapshot())
    await third.window(*REFS[:4])
    await third.writer.close()
    assert [each for each in await store.attributes(REFS) if isinstance(each, EntityAttributes)] == [other.of_entity(ref) for ref in REFS[:4]]
    assert list((await check(store.records())).problems) == []


async def test_knowledge_that_changes_under_a_running_whence_is_followed(tmp_path: Path) -> None:
    store = Store()
    whence = Whence(store)
    await whence.window(*REFS[:3])
    (tmp_path / "service.yaml").write_text(OTHER)
    other = AttributeModel(load_knowledge(tmp_path))
    whence.writer.know(other)
    await whence.window(*REFS[:3])
    assert [each for each in await store.attributes(REFS) if isinstance(each, EntityAttributes)] == [other.of_entity(ref) for ref in REFS[:3]]
    assert (await of_all(store))[1] == keys(*REFS[:3])
    await whence.writer.close()


@pytest.mark.parametrize(("seconds", "sizes"), [(0.0, [200, 200]), (1.0, [200, 100, 50, 25, 12, 10, 3])])
async def test_a_slow_store_is_told_less_at_once_so_that_others_need_not_wait_for_it(seconds: float, sizes: list[int]) -> None:
    graph, store, times = LiveGraph(), Store(), count()
    refs = [EntityRef("pod", "c", "shop", f"p{number}") for number in range(400)]
    keeper = AttributeKeeper(graph, MODEL, most=1_000, clock=lambda: seconds * next(times))
    await keeper.keep(store, lambda: False)
    graph.apply(TopologyDelta(START, tuple(EntityObservation(ref, "t", START, {}) for ref in refs), ()))
    await store.upsert_entities(graph.entities())
    for ref in refs:
        keeper.tell(ref)
    await keeper.keep(store, lambda: False)
    assert store.sizes == sizes


async def test_a_large_estate_has_attributes_where_an_incident_is_open_and_no_longer() -> None:
    store = Store()
    whence = Whence(store, most=3)
    await whence.window(*REFS)
    assert await of_all(store) == (set(), set())
    await whence.window(*REFS, incidents=[incident("i", REFS[2], REFS[0])])
    assert await of_all(store) == ({REFS[0], REFS[2]}, keys(REFS[0], REFS[2]))
    await whence.window(*REFS, incidents=[incident("j", REFS[4], REFS[0])])
    await whence.window(*REFS, incidents=[incident("i", REFS[2], REFS[0], state=IncidentState.RECOVERED)])
    assert await of_all(store) == ({REFS[0], REFS[4]}, keys(REFS[0], REFS[4]))
    await store.save_incidents([incident("j", REFS[4], REFS[0])])
    await whence.writer.close()
    again = Whence(store, most=3, end=whence.end)
    again.graph.restore(await store.snapshot())
    store.told.clear()
    await again.window(*REFS)
    assert store.told == []
    await again.writer.close()


async def test_an_estate_that_outgrows_the_limit_lets_go_of_all_but_open_incidents_and_is_whole_again_when_it_is_clearly_smaller() -> None:
    store = Store()
    whence = Whence(store, most=4)
    await whence.window(*REFS[:4])
    assert len((await of_all(store))[0]) == 4
    await whence.window(*REFS[:5])
    assert await of_all(store) == (set(), set())
    await whence.window(*REFS[:3], later=7 * 24 * 3600)
    assert whence.graph.entity_count == 3
    assert await of_all(store) == ({*REFS[:3]}, keys(*REFS[:3]))
    await whence.writer.close()


async def test_two_writers_leave_the_attributes_of_both_whoever_comes_first() -> None:
    left = []
    for order in ((0, 1), (1, 0)):
        store = Store()
        writers = [Whence(store), Whence(store)]
        parts = (REFS[:3], [REFS[0], *REFS[3:5]])
        for place in order:
            await writers[place].window(*parts[place])
        for place in order:
            await writers[place].writer.close()
        left.append([each async for batch in store.records() for each in batch if isinstance(each, EntityAttributes | RelationDependencies)])
        assert await of_all(store) == ({*REFS[:5]}, keys(*REFS[:5]))
    assert left[0] == left[1]
