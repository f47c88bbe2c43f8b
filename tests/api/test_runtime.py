"""The runtime: verdicts are committed, then told; what a store refuses is written later; nothing acknowledged is lost on the way out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from api.graph_writer import GraphWriter, WriterLimits
from api.pipeline import Pipeline
from api.runtime import WAITING_SENDERS, NoDiagnosisError, Runtime
from graph.memory_store import MemoryGraphStore
from graph.sqlite_store import SqliteGraphStore
from graph.store import StoreUnavailableError
from graph.topology import Entity
from ingest.errors import OverloadedError
from ingest.otlp.files import read_recording
from schema.batches import Batch
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge
from schema.loader import load_knowledge
from schema.verdicts import DefectRef, Incident, IncidentState
from tests.api.recordings import SECOND, START, shop_lines, write_lines

CART = EntityRef("service", "c", "shop", "cart")


@pytest.fixture(scope="module")
def knowledge() -> CausalKnowledge:
    return load_knowledge()


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Batch]:
    return list(read_recording([write_lines(tmp_path_factory.mktemp("shop") / "traces.jsonl", shop_lines(60, rate=1))]))


class FailingStore(MemoryGraphStore):
    """A store whose disk is full while `failing`."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = False

    async def upsert_entities(self, entities: Sequence[Entity]) -> None:
        if self.failing:
            raise StoreUnavailableError("The disk is full: make room.")
        await super().upsert_entities(entities)


async def started(knowledge: CausalKnowledge, store: MemoryGraphStore | SqliteGraphStore | None = None) -> Runtime:
    runtime = Runtime(Pipeline(knowledge), store or MemoryGraphStore())
    await runtime.start()
    return runtime


async def test_the_estate_is_in_the_store_before_its_diagnosis_is_told(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    runtime = await started(knowledge)
    news = runtime.diagnoses()
    for batch in batches:
        await runtime.take(batch)
    first = await anext(news)
    assert await runtime.store.get(CART) is not None
    assert first is runtime.diagnosis
    assert runtime.status().durable_through == first.at
    await runtime.stop()


async def test_the_past_is_kept_by_instant(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    runtime = await started(knowledge)
    with pytest.raises(NoDiagnosisError, match="no window has closed yet"):
        runtime.diagnosis_at(START)
    for batch in batches:
        await runtime.take(batch)
    assert runtime.diagnosis_at(START + 32 * SECOND).at == START + 30 * SECOND
    with pytest.raises(NoDiagnosisError, match=r"the oldest one kept is of 2026-02-25T06:13:25Z"):
        runtime.diagnosis_at(START)
    await runtime.stop()


async def test_what_a_store_refuses_is_written_when_it_takes_writes_again(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    store = FailingStore()
    runtime = await started(knowledge, store)
    store.failing = True
    for batch in batches[:12]:
        await runtime.take(batch)
    status = runtime.status()
    assert status.store_trouble == "The disk is full: make room."
    assert status.durable_through == 0
    assert await store.get(CART) is None
    assert runtime.diagnosis.at > START
    store.failing = False
    for batch in batches[12:]:
        await runtime.take(batch)
    status = runtime.status()
    assert status.store_trouble == ""
    assert status.durable_through == runtime.diagnosis.at
    assert await store.get(CART) is not None
    assert {relation.key.kind for relation in (await store.snapshot()).relations} >= {"calls", "queries"}
    await runtime.stop()


async def test_changes_beyond_the_bound_are_counted_while_a_store_refuses(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    store = FailingStore()
    store.failing = True
    pipeline = Pipeline(knowledge)
    writer = GraphWriter(pipeline.graph, store, limits=WriterLimits(waiting=3))
    for batch in batches:
        pipeline.add(batch)
    for step in pipeline.finish():
        await writer.follow(step)
    assert writer.dropped["store_backlog_full"] > 0


async def test_a_restart_takes_over_the_estate_and_open_incidents(knowledge: CausalKnowledge, batches: list[Batch], tmp_path: Path) -> None:
    runtime = await started(knowledge, SqliteGraphStore(tmp_path / "whence.db"))
    for batch in batches:
        await runtime.take(batch)
    incident = Incident("1", DefectRef(CART, "slow_code"), IncidentState.OPEN, START, None, None, 0.9, 0.9, ())
    await runtime.store.save_incidents([incident])
    await runtime.stop()
    again = await started(knowledge, SqliteGraphStore(tmp_path / "whence.db"))
    assert {entity.ref for entity in again.pipeline.graph.entities()} == {entity.ref for entity in runtime.pipeline.graph.entities()}
    assert {relation.key for relation in again.pipeline.graph.relations()} == {relation.key for relation in runtime.pipeline.graph.relations()}
    assert again.pipeline.reasoner.incidents == (incident,)
    assert again.status().open_incidents == 1
    await again.stop()


async def test_stopping_concludes_the_open_windows_and_then_refuses(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    runtime = await started(knowledge)
    for batch in batches:
        await runtime.take(batch)
    before = runtime.diagnosis.at
    await runtime.stop()
    assert runtime.diagnosis.at > before
    with pytest.raises(OverloadedError, match="not ready"):
        await runtime.take(batches[0])
    await runtime.stop()


async def test_subscribers_are_told_the_last_diagnosis_and_then_the_end(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    runtime = await started(knowledge)
    told: list[int] = []

    async def listen() -> None:
        told.extend([diagnosis.at async for diagnosis in runtime.diagnoses()])

    listening = asyncio.create_task(listen())
    for batch in batches:
        await runtime.take(batch)
    await runtime.stop()
    await listening
    assert told[-1] == runtime.diagnosis.at


async def test_a_sender_that_gives_up_takes_no_window_with_it(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    patient, hasty = await started(knowledge), await started(knowledge)
    for batch in batches:
        await patient.take(batch)
        sending = asyncio.create_task(hasty.take(batch))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
    await patient.stop()
    await hasty.stop()
    assert hasty.windows_closed == patient.windows_closed
    assert hasty.diagnosis == patient.diagnosis


async def test_too_many_senders_are_told_to_come_again(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    runtime = await started(knowledge)
    sending = [asyncio.create_task(runtime.take(batches[0])) for _ in range(WAITING_SENDERS + 1)]
    results = await asyncio.gather(*sending, return_exceptions=True)
    assert sum(isinstance(result, OverloadedError) for result in results) == 1
    await runtime.stop()


async def test_logs_of_a_service_without_a_trace_are_counted(knowledge: CausalKnowledge, tmp_path: Path) -> None:
    def records(attribute: str, *records: dict[str, object]) -> dict[str, object]:
        named = {"attributes": [{"key": attribute, "value": {"stringValue": "cart"}}]}
        return {"resourceLogs": [{"resource": named, "scopeLogs": [{"logRecords": [{"timeUnixNano": str(START), **record} for record in records]}]}]}

    traced: dict[str, object] = {"traceId": f"{1:032x}", "spanId": f"{1:016x}", "body": {"stringValue": "sold"}}
    lines = [records("service.name", traced, {"body": {"stringValue": "started"}}), records("host.name", {"body": {"stringValue": "booted"}})]
    runtime = await started(knowledge)
    for batch in read_recording([write_lines(tmp_path / "logs.jsonl", lines)]):
        await runtime.take(batch)
    assert runtime.status().dropped["records_without_trace"] == 1
    await runtime.stop()


async def test_a_store_that_can_not_be_opened_is_closed_again(knowledge: CausalKnowledge, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    runtime = Runtime(Pipeline(knowledge), SqliteGraphStore(tmp_path / "file" / "whence.db"))
    with pytest.raises(StoreUnavailableError, match="choose another --data-dir"):
        await runtime.start()
    assert not runtime.ready
    await runtime.stop()
